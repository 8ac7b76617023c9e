/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the core has seen to be over is given up: patches that come and go without end need no
 * more memory than one that came once.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

int undescribed_call(int (*function)(int), int argument);

static const void *const functions[] = {answer, twice, answer_after, jump_after, tail_of, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {tail_of, "new_tail_of"}, {NULL, NULL}};

#define CYCLES 600

/* Behind by any number of universes, and by a way that can't be told from a jump inside the library. */
static void *late_entry(void *argument)
{
	int (*volatile pointer)(int) = tail_of;
	pthread_barrier_t *barrier = argument;

	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	return (void *)(intptr_t)pointer(1);
}

int main(void)
{
	uint64_t most = 0;
	pthread_barrier_t barrier;
	pthread_t thread;
	void *seen;

	tail = tail_of;
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, late_entry, &barrier) == 0);
	pthread_barrier_wait(&barrier);

	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer(1) == 1001);
	for (int i = 0; i < CYCLES; i++) {
		/* Both threads are outside; this one enters after each. */
		settled = (uint32_t)STATE->domains[0].universe;
		settled_keeps = STATE->domains[0].keeps;
		revert(1);
		CHECK(answer(1) == 2);
		settled = (uint32_t)STATE->domains[0].universe;
		settled_keeps = STATE->domains[0].keeps;
		apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
		CHECK(answer(1) == 1001);
		if (i == 10)
			most = STATE->stubs_used;
		CHECK(i <= 10 || STATE->stubs_used <= most);
	}
	CHECK(STATE->domains[0].universe == 1 + 2 * CYCLES);
	CHECK(STATE->domains[0].floor >= 2 * CYCLES);

	pthread_barrier_wait(&barrier);
	CHECK(pthread_join(thread, &seen) == 0);
	CHECK((intptr_t)seen == 5001);
	CHECK(STATE->domains[0].unprovable == 0);

	/* Without the core's word nothing is given up. */
	settled = 0;
	most = STATE->stubs_used;
	revert(1);
	CHECK(STATE->stubs_used > most);
	CHECK(tail_of(1) == 6);
	return 0;
}
