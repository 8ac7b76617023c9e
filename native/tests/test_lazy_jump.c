/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A function of the library ends with a jump to one whose address the loader has yet to find.  No
 * frame of the library is left, but the loader may lead back into it: the thread is inside.  What
 * it enters meanwhile, here where the loader asks which of several implementations to take, is old.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

int elsewhere(int x);

static const void *const functions[] = {answer, twice, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static pthread_barrier_t inside, published;
static int while_bound;

static int implementation(int x)
{
	return x + 7;
}

static int (*choose_implementation(void))(int)
{
	/* The loader asks at the start, too, where a program was linked to bind everything then. */
	if (STATE->patch_count == 0 && while_bound == 0) {
		pthread_barrier_wait(&inside);
		pthread_barrier_wait(&published);
		while_bound = answer(1);
	}
	return implementation;
}

int elsewhere(int x) __attribute__((ifunc("choose_implementation")));

static void *jump(void *argument)
{
	(void)argument;
	CHECK(jump_elsewhere(1) == 8);
	return (void *)(intptr_t)answer(1);
}

int main(void)
{
	pthread_t thread;
	void *seen;

	pthread_barrier_init(&inside, NULL, 2);
	pthread_barrier_init(&published, NULL, 2);
	CHECK(pthread_create(&thread, NULL, jump, NULL) == 0);
	pthread_barrier_wait(&inside);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(STATE->libraries[0].resolver);
	CHECK(answer(1) == 1001);
	pthread_barrier_wait(&published);
	CHECK(pthread_join(thread, &seen) == 0);
	CHECK(while_bound == 2);
	CHECK((intptr_t)seen == 1001);
	return 0;
}
