/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: a function behind which no byte is mapped.  With the right TAIL it fills a page, from
 * its padding to its last byte.
 */
#include "edges.h"
#include "../shapes.h"

#define STRINGIZE(number) #number
#define TEXT(number)      STRINGIZE(number)

EXPORTED __attribute__((naked, aligned(4096))) OPAQUE int last(void)
{
	__asm__("mov $1, %eax\n\t"
		"ret\n\t"
		".skip " TEXT(TAIL) ", 0xcc");
}
