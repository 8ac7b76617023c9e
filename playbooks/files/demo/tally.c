/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libtally.so, with a bug: 3 euros and 3 cents come out as 3.3. */
#include "tally.h"

#include <stdio.h>

static unsigned long requests;

int tally_format(char *text, size_t size, long cents)
{
	return snprintf(text, size, "%ld.%ld", cents / 100, cents % 100);
}

unsigned long tally_count(void)
{
	return __atomic_add_fetch(&requests, 1, __ATOMIC_RELAXED);
}
