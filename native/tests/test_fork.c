/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fork waits for a worker that gets no processor, but not for one that may be waiting for the thread
 * that forks.  Seen to fail without ulp_fork_beyond_loader(): the child of a busy host was forked in
 * the middle of what is written to code, and could not be patched any more.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "runtime/clock.h"
#include "runtime/fork.h"
#include "runtime/image_table.h"
#include "runtime/settle.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"

struct ulp_state ulp_state;

void ulp_settle_forked(void)
{
}

void ulp_thread_forked(void)
{
}

void ulp_images_forked(void)
{
}

uint64_t ulp_clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static sem_t begun, may_end;
/* Longer than a fork waits for a worker in the loader. */
static const struct timespec slow = {.tv_nsec = 700000000};

static void *starved(void *unused)
{
	ulp_fork_hold();
	sem_post(&begun);
	sem_wait(&may_end);
	ulp_fork_beyond_loader();
	sem_post(&begun);
	nanosleep(&slow, NULL);
	ulp_fork_release();
	return unused;
}

static void *in_loader(void *unused)
{
	ulp_fork_hold();
	sem_post(&begun);
	sem_wait(&may_end);
	ulp_fork_release();
	return unused;
}

/* Whether a child that is forked now may be patched. */
static bool fork_is_whole(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(ulp_fork_broke_change());
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status) == 0;
}

static pthread_t worker(void *(*work)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
	sem_wait(&begun);
	return thread;
}

int main(void)
{
	pthread_t thread;

	CHECK(sem_init(&begun, 0, 0) == 0 && sem_init(&may_end, 0, 0) == 0);
	CHECK(ulp_fork_prepare_for());
	CHECK(fork_is_whole());

	thread = worker(in_loader);
	CHECK(!fork_is_whole());
	sem_post(&may_end);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(fork_is_whole());

	/* Once it is beyond the loader, also a fork waits before which another one has waited in vain. */
	thread = worker(starved);
	CHECK(!fork_is_whole());
	sem_post(&may_end);
	sem_wait(&begun);
	CHECK(fork_is_whole());
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(fork_is_whole());
	return 0;
}
