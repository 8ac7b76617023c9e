/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: a C function with a cleanup handler (the kind that C has without
 * -fexceptions: a jump buffer, found by comparing stack addresses) calls a C++
 * function with a destructor (found by unwinding), and that one blocks in a
 * cancellation point.
 */
#include "cancel.h"
#include "../shapes.h"

#include <pthread.h>

EXPORTED int cleanups;

int wait_below_destructor(int fd, int *inside);

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int cleanup_amount(void)
{
	return unknown(1);
}

static OPAQUE void clean_up(void *argument)
{
	(void)argument;
	__atomic_fetch_add(&cleanups, cleanup_amount(), __ATOMIC_SEQ_CST);
}

EXPORTED OPAQUE int wait_inside(int fd, int *inside)
{
	volatile int result = 0;

	pthread_cleanup_push(clean_up, 0);
	result = wait_below_destructor(fd, inside);
	pthread_cleanup_pop(0);
	return result;
}
