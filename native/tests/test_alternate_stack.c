/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A handler on an alternate stack, in main()'s own frame, calls the library through code without
 * unwind information.  The words behind it are main()'s; the library that the signal
 * interrupted lies elsewhere.
 */
#include <pthread.h>
#include <signal.h>

#include "harness.h"
#include "target.h"

int undescribed_call(int (*function)(int), int argument);

static const void *const functions[] = {answer, twice, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static int seen;

static void handler(int signal_number)
{
	(void)signal_number;
	seen = undescribed_call(answer, 1);
}

/* Not on the thread whose stack and registers are searched: addresses would be left there. */
static void *apply_elsewhere(void *argument)
{
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	return argument;
}

static void interrupted_inside(void *argument)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, apply_elsewhere, argument) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0);
}

int main(void)
{
	/* Without words that the loader may have left. */
	char memory[65536] = {0};
	stack_t alternate = {.ss_sp = memory, .ss_size = sizeof memory};
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};

	CHECK(sigaltstack(&alternate, NULL) == 0);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(answer_after(interrupted_inside, NULL, 1) == 2);
	CHECK(seen == 2);
	CHECK(answer(1) == 1001);
	return 0;
}
