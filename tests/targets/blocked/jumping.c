/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A replacement that leaves by a jump to a function which the same patch replaces. */
#include "../shapes.h"

int version(void);

EXPORTED OPAQUE int patched_version(void)
{
	return unknown(2);
}

/* Without optimisation a compiler makes a call of it. */
EXPORTED OPAQUE __attribute__((naked)) int jumping_hidden_version(void)
{
	__asm__("jmp version@PLT");
}
