/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: functions that block in a system call, and then jump to a function that a patch
 * replaces.  Their frames are gone when they do; callers know them by pointers, so that no call
 * on the stack names them either.
 */
#include "jumping.h"
#include "../shapes.h"

#include <unistd.h>

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

static OPAQUE int first_state(void)
{
	return unknown(1);
}

static OPAQUE int second_state(void)
{
	return unknown(2);
}

static int (*const states[])(void) = {first_state, second_state};

static OPAQUE int chosen_implementation(void)
{
	return unknown(1);
}

__attribute__((used)) static int (*choose(void))(void)
{
	return chosen_implementation;
}

EXPORTED int chosen(void) __attribute__((ifunc("choose")));

static OPAQUE int byte_of(int fd)
{
	char byte;

	while (read(fd, &byte, 1) < 0)
		;
	return byte;
}

EXPORTED OPAQUE int relay(int fd, int *entered)
{
	__atomic_store_n(entered, 1, __ATOMIC_RELEASE);
	byte_of(fd);
	return version();
}

EXPORTED OPAQUE int relay_by_table(int fd, int *entered)
{
	__atomic_store_n(entered, 1, __ATOMIC_RELEASE);
	return states[byte_of(fd) != 'x']();
}

EXPORTED OPAQUE int relay_by_choice(int fd, int *entered)
{
	__atomic_store_n(entered, 1, __ATOMIC_RELEASE);
	byte_of(fd);
	return chosen();
}

__attribute__((cold)) static OPAQUE void seldom(void)
{
	unknown(0);
}

EXPORTED OPAQUE int relay_seldom(int fd, int *entered)
{
	__atomic_store_n(entered, 1, __ATOMIC_RELEASE);
	if (byte_of(fd) == 'x') {
		seldom();
		return version();
	}
	return 0;
}
