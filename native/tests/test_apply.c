/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Apply, stack, revert the one below, revert the top, apply again; threads inside keep theirs. */
#include <pthread.h>
#include <semaphore.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, twice, answer_after, NULL};
static const struct pair to_new[] = {{answer, "new_answer"}, {NULL, NULL}};
static const struct pair to_newest[] = {{answer, "newest_answer"}, {NULL, NULL}};

static sem_t inside, go_on;

static void wait_inside(void *argument)
{
	(void)argument;
	/* From here it is a call from within: the library is on the stack. */
	CHECK(twice(1) == *(int *)argument);
	sem_post(&inside);
	sem_wait(&go_on);
	CHECK(twice(1) == *(int *)argument);
}

static void *stay_inside(void *argument)
{
	int expected = 2 * *(int *)argument;

	CHECK(answer_after(wait_inside, &expected, 1) == *(int *)argument);
	/* Outside again. */
	return (void *)(intptr_t)answer(1);
}

static pthread_t park(int *expected)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, stay_inside, expected) == 0);
	sem_wait(&inside);
	return thread;
}

static void leave(pthread_t thread, int expected_outside)
{
	void *outside;

	sem_post(&go_on);
	CHECK(pthread_join(thread, &outside) == 0);
	CHECK((intptr_t)outside == expected_outside);
}

int main(void)
{
	int original = 2, new = 1001, newest = 2001;
	pthread_t parked;

	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	CHECK(answer(1) == original && twice(1) == 2 * original);
	CHECK(STATE->domain_count == 0 && STATE->stubs_used == 0);

	parked = park(&original);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, to_new);
	CHECK(answer(1) == new &&twice(1) == 2 * new);
	leave(parked, new);

	parked = park(&new);
	apply(2, PATCH_PATH, TARGET_ENDBR, functions, to_newest);
	CHECK(answer(1) == newest && twice(1) == 2 * newest);
	leave(parked, newest);

	/* The one below: nothing is to be seen of it. */
	revert(1);
	CHECK(answer(1) == newest);
	parked = park(&newest);
	revert(2);
	CHECK(answer(1) == original);
	leave(parked, original);

	parked = park(&original);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, to_new);
	CHECK(answer(1) == new);
	leave(parked, new);
	CHECK(STATE->domains[0].universe == 5);
	CHECK(STATE->domains[0].unprovable == 0);
	CHECK(STATE->owner == 0 && STATE->sequence % 2 == 0);
	return 0;
}
