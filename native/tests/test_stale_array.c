/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A caller with a large array, as class libraries have them, is called by code without a frame
 * description.  What earlier calls have left in the array looks like addresses to return to, and no
 * call overwrites it: a thread that believed it would keep old functions for ever.  Above the frames
 * that are described such words count.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

#define STALE ((uint64_t)answer + 1)
#define WORDS 128

void undescribed_callback(void *argument);
void described_callback(void *argument);

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

void described_callback(void *argument)
{
	volatile uint64_t words[WORDS];

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = STALE;
	*(int *)argument = answer(1);
	CHECK(words[0] == STALE);
}

static void *below(void *argument)
{
	undescribed_callback(argument);
	return NULL;
}

static void *above(void *argument)
{
	volatile uint64_t words[WORDS];

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = STALE;
	undescribed_callback(argument);
	CHECK(words[0] == STALE);
	return NULL;
}

static int answer_on_a_thread(void *(*body)(void *))
{
	pthread_t thread;
	int result;

	CHECK(pthread_create(&thread, NULL, body, &result) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return result;
}

int main(void)
{
	int result;

	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer_on_a_thread(above) == 2);
	CHECK(STATE->domains[0].unprovable == 1);
	CHECK(answer_on_a_thread(below) == 1001);
	below(&result);
	CHECK(result == 1001);
	CHECK(STATE->domains[0].unprovable == 1);
	CHECK(STATE->domains[0].kept == 0);
	return 0;
}
