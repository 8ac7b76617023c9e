/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: a library that calls the application back from the middle of a
 * function (so the application's frames lie above the library's, and may enter
 * it again, or jump over it), and one that leaves by longjmp.
 */
#include "callback.h"
#include "../shapes.h"

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int around(int (*callback)(void *), void *argument)
{
	int before = version();
	int within = callback(argument);

	return 100 * before + 10 * version() + within;
}

EXPORTED OPAQUE void leave(jmp_buf buffer)
{
	longjmp(buffer, version());
}
