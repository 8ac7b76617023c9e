/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A victim whose own code has no unwind information and makes its system calls itself, as Go's:
 * "frameless MODE 1 FILE", to be built without unwind tables; FILE is as for busy.c. Its main thread
 * waits for ever. In the mode
 *   waits        the other thread sleeps again and again, on the stack that the C library has made for it;
 *   called_back  it does so in a function that the C library calls;
 *   computes     it never sleeps.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int answer(int value);

#define SLEEP_NS 5000000L

static volatile long *shown;
static const char *mode;

static long make_call(long number, const void *first, const void *second)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(first), "S"(second)
			 : "rcx", "r11", "memory");
	return result;
}

static void go_on(int sleeps)
{
	const struct timespec time = {0, SLEEP_NS};

	for (;;) {
		shown[0] = answer(1);
		shown[1]++;
		if (sleeps)
			make_call(SYS_nanosleep, &time, NULL);
		else
			for (volatile int i = 0; i < 100000; i++)
				;
	}
}

static int compare(const void *left, const void *right)
{
	(void)left;
	(void)right;
	go_on(1);
	return 0;
}

static void *work(void *unused)
{
	int numbers[] = {2, 1};

	if (!strcmp(mode, "called_back"))
		qsort(numbers, 2, sizeof *numbers, compare);
	go_on(strcmp(mode, "computes"));
	return unused;
}

int main(int argc, char **argv)
{
	int file = argc == 4 ? open(argv[3], O_RDWR) : -1;
	pthread_t thread;

	if (file < 0)
		return 2;
	mode = argv[1];
	shown = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shown == MAP_FAILED || pthread_create(&thread, NULL, work, NULL))
		return 2;
	for (;;)
		make_call(SYS_pause, NULL, NULL);
}
