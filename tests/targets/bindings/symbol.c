/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A function of the library for which that has no word of its own, so that the loader is asked for its name. */
#include "../shapes.h"

/* So much of an address can be added to the sum. */
#define PART 0xffffff

static int (*volatile sum_word)(void);
int new_interposed(void);

EXPORTED OPAQUE int new_interposed(void)
{
	return (int)((unsigned long)sum_word & PART);
}
