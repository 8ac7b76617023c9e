/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shape: a patched library that calls another one, which the same livepatch patches. */
#include "two_libraries.h"
#include "../shapes.h"

#include <unistd.h>

EXPORTED OPAQUE int upper_version(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int upper_through(void)
{
	int upper = upper_version();

	/* Widens the window in which a publish falls between the two. */
	for (volatile int i = 0; i < 50; i++)
		;
	return 10 * upper + lower_version();
}

EXPORTED OPAQUE void upper_around(void (*callback)(void *), void *argument)
{
	callback(argument);
	/* Not a jump: the frame stays. */
	__asm__ volatile("");
}

EXPORTED OPAQUE int upper_relay(int fd, int *entered)
{
	char byte;

	__atomic_store_n(entered, 1, __ATOMIC_RELEASE);
	while (read(fd, &byte, 1) < 0)
		;
	return lower_version();
}
