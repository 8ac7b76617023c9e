/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: a function that may be left at any instruction of what it calls back,
 * by an asynchronous cancellation.  Its cleanup handler is a landing pad.
 */
#include "async_cancel.h"
#include "../shapes.h"

#include <pthread.h>

EXPORTED unsigned long library_cleanups;

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

static OPAQUE void clean_up(void *argument)
{
	(void)argument;
	__atomic_fetch_add(&library_cleanups, 1, __ATOMIC_SEQ_CST);
}

EXPORTED OPAQUE int around(int (*callback)(void *), void *argument)
{
	volatile int result = 0;

	pthread_cleanup_push(clean_up, 0);
	result = callback(argument);
	pthread_cleanup_pop(0);
	return result + version();
}
