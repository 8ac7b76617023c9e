/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that call the library's functions by the C library's names, all the time. */
#include "victim.h"

#include <sys/auxv.h>
#include <time.h>

#define THREADS 3

int which_version(void);

static pthread_t threads[THREADS];
static unsigned long rounds, errors;
static int stopping;

static void *nothing(void *argument)
{
	return argument;
}

/* Returns whether each gave what the C library's function gives. */
static int call_them(void)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	char *volatile text = strdup("what it says");
	char copy[32];
	struct timespec now;
	int right = strlen(text) == 12;

	memcpy(copy, text, 13);
	right &= strcmp(copy, text) == 0 && memcmp(copy, text, 13) == 0;
	memset(copy, 0, sizeof(copy));
	free(text);
	right &= pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0;
	right &= clock_gettime(CLOCK_MONOTONIC, &now) == 0 && close(-1) == -1 && errno == EBADF;
	right &= getauxval(AT_PAGESZ) == 4096;
	join_thread(start_thread(nothing, NULL));
	nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
	return right;
}

static void *work(void *argument)
{
	yield_to_others();
	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		if (!call_them())
			__atomic_fetch_add(&errors, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELEASE);
	}
	return argument;
}

static void run_work(char **arguments)
{
	(void)arguments;
	for (int i = 0; i < THREADS; i++)
		threads[i] = start_thread(work, NULL);
	answer("working");
}

static void run_version(char **arguments)
{
	(void)arguments;
	answer("%d", which_version());
}

static void run_rounds(char **arguments)
{
	unsigned long begin = __atomic_load_n(&rounds, __ATOMIC_ACQUIRE);

	(void)arguments;
	wait_for_count(&rounds, begin + 2 * THREADS);
	answer("%lu %lu", rounds, errors);
}

static void run_stop(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		join_thread(threads[i]);
	answer("%lu %lu", rounds, errors);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"work", run_work},     {"version", run_version},
		{"rounds", run_rounds}, {"stop", run_stop},
		{NULL, NULL},
	};

	return serve(commands);
}
