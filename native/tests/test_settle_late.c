/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core has seen every thread outside; before it says so, one goes in that can't be told to
 * come from outside, and stays in the old version: nothing may be given up, or raised.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, answer_after, NULL};
static const struct pair to_new[] = {{answer, "new_answer"}, {NULL, NULL}};
static const struct pair to_newest[] = {{answer, "newest_answer"}, {NULL, NULL}};

static pthread_barrier_t barrier;

static void stay(void *argument)
{
	(void)argument;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
}

static void *go_in(void *argument)
{
	int (*volatile pointer)(void (*)(void *), void *, int) = answer_after;

	(void)argument;
	pthread_barrier_wait(&barrier);
	CHECK(pointer(stay, NULL, 1) == 2);
	return (void *)(intptr_t)answer(1);
}

int main(void)
{
	pthread_t thread;
	void *seen;

	tail = answer_after;
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, go_in, NULL) == 0);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, to_new);
	CHECK(answer(1) == 1001);
	settled = (uint32_t)STATE->domains[0].universe;
	settled_keeps = STATE->domains[0].keeps;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);

	apply(2, PATCH_PATH, TARGET_ENDBR, functions, to_newest);
	CHECK(STATE->domains[0].floor == 0);
	CHECK(answer(1) == 2001);
	pthread_barrier_wait(&barrier);
	CHECK(pthread_join(thread, &seen) == 0);
	CHECK((intptr_t)seen == 2001);

	/* Now nobody has kept a number since. */
	settled = (uint32_t)STATE->domains[0].universe;
	settled_keeps = STATE->domains[0].keeps;
	revert(2);
	CHECK(STATE->domains[0].floor == 2);
	CHECK(answer(1) == 1001);
	return 0;
}
