/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A victim whose system calls the kernel sends to the program, SIGSYS, for which it has no handler:
 * "dispatching MODE 1 FILE"; FILE is as for busy.c. Those that syscall() of the C library makes are
 * carried out all the same, and in the mode "allow" a byte lets the others through as well.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int answer(int value);

#define PR_SET_SYSCALL_USER_DISPATCH  59
#define PR_SYS_DISPATCH_ON            1
#define SYSCALL_DISPATCH_FILTER_ALLOW 0
#define SYSCALL_DISPATCH_FILTER_BLOCK 1
/* Bytes that the function is not longer than. */
#define LENGTH_OF_SYSCALL 64

static char selector = SYSCALL_DISPATCH_FILTER_ALLOW;

int main(int argc, char **argv)
{
	int file = argc == 4 ? open(argv[3], O_RDWR) : -1;
	struct timespec pause = {0, 5000000};
	volatile long *shown;

	if (file < 0)
		return 2;
	shown = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shown == MAP_FAILED)
		return 2;
	/* Whatever has to be looked up is looked up now. */
	answer(1);
	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, NULL);
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, (unsigned long)syscall,
		  (unsigned long)LENGTH_OF_SYSCALL, &selector))
		return 3;
	if (strcmp(argv[1], "allow"))
		*(volatile char *)&selector = SYSCALL_DISPATCH_FILTER_BLOCK;
	for (;;) {
		shown[0] = answer(1);
		shown[1]++;
		syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, NULL);
	}
}
