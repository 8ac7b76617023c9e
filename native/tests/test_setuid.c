/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread changes its user ID without end, for which the C library interrupts every other thread
 * while it holds a lock that starting one needs.  The diverted thread has to answer.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static volatile unsigned long changes;
static volatile bool stop;

static void *change(void *argument)
{
	while (!stop) {
		CHECK(seteuid(geteuid()) == 0);
		changes++;
	}
	return argument;
}

/* What the core leaves a thread with when it comes to the entry, even an old one. */
static void block_all(void)
{
	uint64_t all = ~0ull;

	CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8) == 0);
}

int main(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, change, NULL) == 0);
	for (int i = 0; i < 100; i++) {
		unsigned long before = changes;

		block_all();
		apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
		block_all();
		revert(1);
		/* A deadlock is the test's time limit. */
		while (changes == before)
			usleep(100);
	}
	stop = true;
	CHECK(pthread_join(thread, NULL) == 0);
	return 0;
}
