/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long was a thread kept from running? The given number of threads read the time-stamp
 * counter without pause; the longest gap between two readings is what they lost.
 *
 * Reads commands: "reset" starts a new observation, "report" answers with the longest gap
 * of each thread in microseconds. The main thread waits for them, and is the one to divert.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

int measured(int value);

static _Atomic uint64_t longest[1024];
static atomic_uint generation;
static double ticks_per_microsecond;

static void *spin(void *argument)
{
	_Atomic uint64_t *mine = argument;
	unsigned seen = 0;
	uint64_t last = __rdtsc();

	for (;;) {
		uint64_t now = __rdtsc();
		unsigned current = atomic_load_explicit(&generation, memory_order_relaxed);

		if (current != seen) {
			seen = current;
			*mine = 0;
		} else if (now - last > *mine) {
			*mine = now - last;
		}
		last = now;
		measured(0);
	}
	return NULL;
}

static void calibrate(void)
{
	struct timespec start, end;
	uint64_t ticks;

	clock_gettime(CLOCK_MONOTONIC, &start);
	ticks = __rdtsc();
	usleep(50000);
	ticks = __rdtsc() - ticks;
	clock_gettime(CLOCK_MONOTONIC, &end);
	ticks_per_microsecond =
		(double)ticks * 1000 /
		((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec));
}

int main(int count, char **arguments)
{
	int threads = count > 1 ? atoi(arguments[1]) : 1;
	char command[32];
	size_t length = 0;

	setvbuf(stdout, NULL, _IONBF, 0);
	calibrate();
	for (int i = 0; i < threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, spin, &longest[i]) != 0)
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
			atomic_fetch_add(&generation, 1);
			puts("ok");
		} else if (strcmp(command, "report") == 0) {
			for (int i = 0; i < threads; i++)
				printf("%.1f%s", (double)longest[i] / ticks_per_microsecond,
				       i + 1 < threads ? " " : "\n");
		}
	}
	_exit(0);
}
