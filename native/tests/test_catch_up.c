/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that is asked to by whoever diverts it takes the newest number there and then, if its
 * stack shows it outside: one that computes and enters no library has no other occasion.  Inside it
 * keeps its own.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, twice, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static pthread_barrier_t inside, published;
static uint64_t number_inside;

static uint64_t number(void)
{
	return *(const uint64_t *)((uint64_t)__builtin_thread_pointer() +
				   (uint64_t)STATE->domains[0].tls_offset);
}

static void divert_inside(void *argument)
{
	(void)argument;
	pthread_barrier_wait(&inside);
	pthread_barrier_wait(&published);
	divert_flags = ULP_BLOCK_CATCH_UP;
	settle(1);
	divert_flags = 0;
	number_inside = number();
}

static void *call_back(void *argument)
{
	CHECK(answer_after(divert_inside, argument, 1) == 2);
	divert_flags = ULP_BLOCK_CATCH_UP;
	settle(1);
	divert_flags = 0;
	CHECK(number() == STATE->domains[0].universe);
	return NULL;
}

static void *never_enter(void *argument)
{
	settle(1);
	CHECK(number() == 0);
	divert_flags = ULP_BLOCK_CATCH_UP;
	settle(1);
	CHECK(number() == STATE->domains[0].universe);
	divert_flags = 0;
	return argument;
}

int main(void)
{
	pthread_t thread;

	pthread_barrier_init(&inside, NULL, 2);
	pthread_barrier_init(&published, NULL, 2);
	CHECK(pthread_create(&thread, NULL, call_back, NULL) == 0);
	pthread_barrier_wait(&inside);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	pthread_barrier_wait(&published);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(number_inside == 0);
	CHECK(pthread_create(&thread, NULL, never_enter, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return 0;
}
