/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: functions that block in a system call halfway, between two calls of
 * functions that a patch replaces.  The second call is made in each way that
 * code inside a library has: by exported name, directly, by pointer, as tail
 * call.
 */
#include "blocked.h"
#include "../shapes.h"

#include <unistd.h>

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

HIDDEN OPAQUE int hidden_version(void)
{
	return unknown(1);
}

static OPAQUE int pointed_version(void)
{
	return unknown(1);
}

int (*const volatile pointer)(void) = pointed_version;

static OPAQUE void wait_for_byte(int fd)
{
	char byte;

	while (read(fd, &byte, 1) < 0)
		;
}

static OPAQUE void enter(struct passage *passage, int seen)
{
	__atomic_store_n(&passage->entered, seen, __ATOMIC_RELEASE);
}

EXPORTED OPAQUE int hold(int fd, struct passage *passage)
{
	enter(passage, version());
	wait_for_byte(fd);
	passage->through = version();
	passage->pointer = pointer();
	/* Last: before an indirect call, a register that it leaves alone may carry an argument, for all that a stock
	 * library shows, and it could be replaced by nothing but a function that leaves it alone, too. */
	passage->direct = hidden_version();
	return passage->through;
}

EXPORTED OPAQUE int relay(int fd, struct passage *passage)
{
	enter(passage, version());
	wait_for_byte(fd);
	return version();
}

EXPORTED OPAQUE int relay_hidden(int fd, struct passage *passage)
{
	enter(passage, hidden_version());
	wait_for_byte(fd);
	return hidden_version();
}
