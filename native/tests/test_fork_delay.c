/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * While a thread of the program keeps the loader's lock, and the worker waits for it, forks are
 * held up once, not each time: a program may fork for every request that it serves.  Seen to
 * fail (ten forks take two seconds) without out_of_patience.
 */
#include <link.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

#define FORKS 10

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static pthread_barrier_t barrier;

/* As long as a library's constructor may take. */
static int keep_lock(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)info, (void)size, (void)unused;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return 1;
}

static void *be_slow(void *unused)
{
	dl_iterate_phdr(keep_lock, NULL);
	return unused;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Seconds that a fork takes the parent. */
static double fork_once(void)
{
	double start = now(), end;
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(0);
	end = now();
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	return end - start;
}

int main(void)
{
	struct ulp_request *request = prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	const struct ulp_result *result;
	pthread_t thread;
	double delay = 0;

	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, be_slow, NULL) == 0);
	pthread_barrier_wait(&barrier);
	result = divert_once(request);
	CHECK(result && result->stage == ULP_STAGE_STARTED);
	/* Until the worker holds forks up. */
	for (int i = 0; i < 5000 && delay < 0.1; i++)
		delay = fork_once();
	CHECK(delay >= 0.1);
	delay = 0;
	for (int i = 0; i < FORKS; i++)
		delay += fork_once();
	CHECK(result->stage == ULP_STAGE_STARTED);
	CHECK(delay < FORKS * 0.1);

	pthread_barrier_wait(&barrier);
	CHECK(pthread_join(thread, NULL) == 0);
	for (int i = 0; i < 20000 && result->stage != ULP_STAGE_DONE; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	CHECK(result->stage == ULP_STAGE_DONE);
	CHECK(answer(1) == 1001);
	free(request);
	return 0;
}
