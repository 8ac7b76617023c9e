/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shape: the library that another patched library calls. */
#include "two_libraries.h"
#include "../shapes.h"

EXPORTED OPAQUE int lower_version(void)
{
	return unknown(1);
}

EXPORTED OPAQUE void lower_around(void (*callback)(void *), void *argument)
{
	callback(argument);
	/* Not a jump: the frame stays. */
	__asm__ volatile("");
}
