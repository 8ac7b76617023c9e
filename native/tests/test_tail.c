/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A function of the library waits, and then jumps to a patched one.  No frame of it is left,
 * but it is the old one that computed the arguments: the thread keeps its number.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, twice, answer_after, jump_after, tail_of, NULL};
static const struct pair pairs[] = {{tail_of, "new_tail_of"}, {NULL, NULL}};

static pthread_barrier_t inside, published;

static void wait_inside(void *argument)
{
	(void)argument;
	pthread_barrier_wait(&inside);
	pthread_barrier_wait(&published);
}

static void *jump(void *argument)
{
	(void)argument;
	/* A call by name, and one through a pointer, of which nobody can tell afterwards. */
	CHECK(jump_after(wait_inside, NULL, 1) == 6);
	/* The next entry is one, and is seen to be. */
	return (void *)(intptr_t)tail_of(1);
}

static void *jump_by_pointer(void *argument)
{
	int (*volatile pointer)(void (*)(void *), void *, int) = jump_after;

	(void)argument;
	CHECK(pointer(wait_inside, NULL, 1) == 6);
	return (void *)(intptr_t)tail_of(1);
}

int main(void)
{
	pthread_t threads[2];
	void *seen[2];

	tail = tail_of;
	pthread_barrier_init(&inside, NULL, 3);
	pthread_barrier_init(&published, NULL, 3);
	CHECK(pthread_create(&threads[0], NULL, jump, NULL) == 0);
	CHECK(pthread_create(&threads[1], NULL, jump_by_pointer, NULL) == 0);
	pthread_barrier_wait(&inside);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(tail_of(1) == 5001);
	pthread_barrier_wait(&published);
	for (int i = 0; i < 2; i++) {
		CHECK(pthread_join(threads[i], &seen[i]) == 0);
		CHECK((intptr_t)seen[i] == 5001);
	}
	CHECK(STATE->domains[0].unprovable == 2);
	return 0;
}
