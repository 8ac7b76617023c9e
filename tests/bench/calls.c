/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Measures calls of a library function. Reads a number of rounds from standard input and
 * answers with the nanoseconds per call of each round, on one line; until the end of input.
 * Counts the time that the thread ran, not the turns of others.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

int measured(int value);

#define CALLS 2000000

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static double round_of_calls(void)
{
	uint64_t start = now();
	int value = 0;

	for (int i = 0; i < CALLS; i++)
		value = measured(value);
	__asm__ volatile("" ::"r"(value));
	return (double)(now() - start) / CALLS;
}

int main(void)
{
	int rounds;

	setvbuf(stdout, NULL, _IONBF, 0);
	while (scanf("%d", &rounds) == 1) {
		round_of_calls();
		while (rounds-- > 0)
			printf("%.4f%s", round_of_calls(), rounds ? " " : "\n");
	}
	return 0;
}
