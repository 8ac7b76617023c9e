/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: a recursion that never leaves the library, and functions in which a
 * thread ends without ever returning from them.
 */
#define _GNU_SOURCE
#include "leaving.h"
#include "../shapes.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

static OPAQUE void wait_for_byte(int fd, int *inside)
{
	char byte;

	__atomic_store_n(inside, 1, __ATOMIC_RELEASE);
	while (read(fd, &byte, 1) != 1)
		;
}

HIDDEN OPAQUE void descend_further(struct descent *descent, int level, int blocking, int fd,
				   int *inside)
{
	if (level < LEVELS)
		descend(descent, level, blocking, fd, inside);
	__asm__ volatile("");
}

EXPORTED OPAQUE void descend(struct descent *descent, int level, int blocking, int fd, int *inside)
{
	descent->own[level] = 1;
	descent->before[level] = version();
	if (level == blocking)
		wait_for_byte(fd, inside);
	descend_further(descent, level + 1, blocking, fd, inside);
	descent->after[level] = version();
}

EXPORTED OPAQUE void end_by_pthread_exit(int fd, int *inside, int *seen)
{
	wait_for_byte(fd, inside);
	*seen = version();
	pthread_exit(NULL);
}

EXPORTED OPAQUE void end_by_system_call(int fd, int *inside, int *seen)
{
	wait_for_byte(fd, inside);
	*seen = version();
	syscall(SYS_exit, 0);
}

EXPORTED OPAQUE void end_in_callback(int fd, int *inside, int *seen, void (*callback)(void))
{
	wait_for_byte(fd, inside);
	*seen = version();
	callback();
	*seen = 0;
}
