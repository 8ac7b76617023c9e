/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long were threads kept from running, and by whom? The given number of threads read the
 * time-stamp counter without pause. The longest gap between two readings is what they lost, to whatever
 * it was: mostly to each other, when there are more of them than processors. So each also asks the
 * kernel, on itself: of the time that passed, it ran for so long, and waited for a processor for so
 * long; for the rest it was not runnable: it slept, or somebody had stopped it. A stop is also counted
 * among the voluntary switches of its context, of which a thread that only computes has none.
 *
 * Reads commands: "reset" starts a new observation. "report" answers with the longest gap, the longest
 * time not runnable (both in microseconds), and the number of voluntary switches, over all threads. The
 * main thread waits for commands, and is the one to divert.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

int measured(int value);

#define THREADS 1024

struct account {
	uint64_t passed, ran, waited; /* nanoseconds */
	uint64_t longest;             /* ticks */
	long switches;
};

static struct spinner {
	struct account start, now;
	atomic_uint seen;
} spinners[THREADS];

static atomic_uint observation;
static double ticks_per_microsecond;

static uint64_t nanoseconds(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The second number: nanoseconds spent waiting on a run queue (Documentation/scheduler/sched-stats). */
static uint64_t waited(int schedstat)
{
	char text[128] = "";
	unsigned long long run, wait;

	if (pread(schedstat, text, sizeof(text) - 1, 0) <= 0 ||
	    sscanf(text, "%llu %llu", &run, &wait) != 2)
		exit(3);
	return wait;
}

/* Without a wait between the three readings. */
static struct account take_account(int schedstat)
{
	struct account account;
	struct rusage usage;

	do {
		account.waited = waited(schedstat);
		account.ran = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
		account.passed = nanoseconds(CLOCK_MONOTONIC);
	} while (waited(schedstat) != account.waited);
	getrusage(RUSAGE_THREAD, &usage);
	account.switches = usage.ru_nvcsw;
	return account;
}

static void *spin(void *argument)
{
	struct spinner *self = argument;
	int schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	uint64_t last = __rdtsc(), longest = 0;

	/* Only this thread: in Linux each has a nice value of its own. */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
	for (;;) {
		uint64_t now = __rdtsc();
		unsigned current = atomic_load_explicit(&observation, memory_order_relaxed);

		if (now - last > longest)
			longest = now - last;
		last = now;
		measured(0);
		if (current == atomic_load_explicit(&self->seen, memory_order_relaxed))
			continue;
		/* Odd: it begins. Even: it ends. */
		if (current % 2) {
			self->start = take_account(schedstat);
			longest = 0;
		} else {
			self->now = take_account(schedstat);
			self->now.longest = longest;
		}
		atomic_store_explicit(&self->seen, current, memory_order_release);
		last = __rdtsc();
	}
	return NULL;
}

static void advance(int threads)
{
	unsigned next = atomic_fetch_add(&observation, 1) + 1;

	for (int i = 0; i < threads; i++)
		while (atomic_load_explicit(&spinners[i].seen, memory_order_acquire) != next)
			usleep(200);
}

static void report(int threads)
{
	uint64_t longest = 0;
	int64_t lost = 0;
	long switches = 0;

	for (int i = 0; i < threads; i++) {
		const struct account *start = &spinners[i].start, *now = &spinners[i].now;
		int64_t rest = (int64_t)(now->passed - start->passed) -
			       (int64_t)(now->ran - start->ran) -
			       (int64_t)(now->waited - start->waited);

		if (now->longest > longest)
			longest = now->longest;
		if (rest > lost)
			lost = rest;
		switches += now->switches - start->switches;
	}
	printf("%.1f %.1f %ld\n", (double)longest / ticks_per_microsecond, (double)lost / 1000,
	       switches);
}

static void calibrate(void)
{
	uint64_t start = nanoseconds(CLOCK_MONOTONIC), ticks = __rdtsc();

	usleep(50000);
	ticks = __rdtsc() - ticks;
	ticks_per_microsecond =
		(double)ticks * 1000 / (double)(nanoseconds(CLOCK_MONOTONIC) - start);
}

int main(int count, char **arguments)
{
	int threads = count > 1 ? atoi(arguments[1]) : 1;
	char command[32];
	size_t length = 0;

	if (threads < 1 || threads > THREADS)
		return 2;
	setvbuf(stdout, NULL, _IONBF, 0);
	calibrate();
	for (int i = 0; i < threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, spin, &spinners[i]) != 0)
			return 1;
	}
	/* read(), not stdio: the main thread is to wait in a plain system call. */
	while (length < sizeof command - 1 && read(STDIN_FILENO, &command[length], 1) == 1) {
		if (command[length] != '\n') {
			length++;
			continue;
		}
		command[length] = 0;
		length = 0;
		if (strcmp(command, "reset") == 0) {
			advance(threads);
			puts("ok");
		} else if (strcmp(command, "report") == 0) {
			advance(threads);
			report(threads);
		}
	}
	_exit(0);
}
