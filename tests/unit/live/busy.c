/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A victim of which no thread ever waits: "busy MODE THREADS FILE". Each thread does the same work
 * again and again, checks its result, and exits with 1 if that is wrong. FILE has one word for what
 * the library answered last, and one for each thread's rounds.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int answer(int value);

#define MOST_THREADS 15
#define DEPTH        1500
#define PIECES       64

static volatile long *shown;
static const char *mode;

static void require(int holds)
{
	if (!holds)
		_exit(1);
}

static void compute(void)
{
	volatile double sum = 0;

	for (int i = 0; i < 100000; i++)
		sum += i * 0.5;
	require(sum == 0.5 * 99999 * 50000);
}

static __attribute__((noinline)) long branch(long number)
{
	return number < 2 ? number : branch(number - 1) + branch(number - 2);
}

static __attribute__((noinline)) long descend(long depth)
{
	volatile long own = depth;
	long found;

	if (!depth) {
		compute();
		return 0;
	}
	found = descend(depth - 1) + 1;
	require(own == depth);
	return found;
}

static void allocate(void)
{
	char *pieces[PIECES] = {NULL};

	for (unsigned i = 0; i < 2000; i++) {
		unsigned place = i * 7 % PIECES, size = 1 + i * 31 % 40000;

		require(!pieces[place] || *pieces[place] == (char)place);
		free(pieces[place]);
		pieces[place] = malloc(size);
		require(pieces[place] != NULL);
		memset(pieces[place], (int)place, size < 64 ? size : 64);
	}
	for (unsigned i = 0; i < PIECES; i++)
		free(pieces[i]);
}

static void *work(void *place)
{
	volatile long *rounds = place;

	for (;;) {
		if (!strcmp(mode, "compute"))
			compute();
		else if (!strcmp(mode, "branch"))
			require(branch(24) == 46368);
		else if (!strcmp(mode, "descend"))
			require(descend(DEPTH) == DEPTH);
		else
			allocate();
		if (rounds == shown + 1)
			*shown = answer(1);
		++*rounds;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int count = argc == 4 ? atoi(argv[2]) : 0;
	int file = count ? open(argv[3], O_RDWR) : -1;
	pthread_t thread;

	if (file < 0 || count > MOST_THREADS)
		return 2;
	mode = argv[1];
	shown = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shown == MAP_FAILED)
		return 2;
	for (int i = 2; i <= count; i++)
		if (pthread_create(&thread, NULL, work, (void *)(shown + i)))
			return 2;
	work((void *)(shown + 1));
	return 0;
}
