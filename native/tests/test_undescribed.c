/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Callers without unwind information: the stack's words decide.  With no word that points
 * into the library the thread takes the new number; with the library below, it keeps its own.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

int undescribed_call(int (*function)(int), int argument);
void undescribed_callback(void *argument);
void described_callback(void *argument);

static const void *const functions[] = {answer, twice, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static pthread_barrier_t inside, published;

void described_callback(void *argument)
{
	(void)argument;
	pthread_barrier_wait(&inside);
	pthread_barrier_wait(&published);
	/* Not from within: an entry, with nothing but the stack's words to tell that we are inside. */
	CHECK(answer(1) == 2);
}

static void *parked(void *argument)
{
	(void)argument;
	CHECK(answer_after(undescribed_callback, NULL, 1) == 2);
	return (void *)(intptr_t)answer(1);
}

static void *outside(void *argument)
{
	(void)argument;
	pthread_barrier_wait(&inside);
	pthread_barrier_wait(&published);
	return (void *)(intptr_t)undescribed_call(answer, 1);
}

int main(void)
{
	pthread_t threads[2];
	void *seen[2];

	pthread_barrier_init(&inside, NULL, 3);
	pthread_barrier_init(&published, NULL, 3);
	CHECK(pthread_create(&threads[0], NULL, parked, NULL) == 0);
	CHECK(pthread_create(&threads[1], NULL, outside, NULL) == 0);
	pthread_barrier_wait(&inside);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(undescribed_call(answer, 1) == 1001);
	pthread_barrier_wait(&published);
	for (int i = 0; i < 2; i++) {
		CHECK(pthread_join(threads[i], &seen[i]) == 0);
		CHECK((intptr_t)seen[i] == 1001);
	}
	/* Kept once by the thread that was inside, for want of a proof or by one: never mixed. */
	CHECK(STATE->domains[0].kept + STATE->domains[0].unprovable >= 1);
	return 0;
}
