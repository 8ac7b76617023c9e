/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: two functions that share the layout of a structure, called one after
 * the other by a third that stays as it is.  One of the two is exported and
 * called through the PLT, one is hidden and called directly.
 */
#include "contract.h"
#include "record.h"
#include "../shapes.h"

#include <string.h>

#define ROUNDS 3

EXPORTED OPAQUE void make(void *memory, long seed)
{
	struct old_record *record = memory;

	memset(memory, 0, RECORD_SIZE);
	record->seed = OLD_SEED(seed);
	record->inverse = ~seed;
	record->square = (long)((unsigned long)seed * (unsigned long)seed);
}

HIDDEN OPAQUE int use(const void *memory, long seed)
{
	const struct old_record *record = memory;

	if (record->seed != OLD_SEED(seed) || record->inverse != ~seed ||
	    record->square != (long)((unsigned long)seed * (unsigned long)seed))
		return -1;
	return unknown(1);
}

/* Widens the window in which a publish falls between the two. */
static OPAQUE void linger(int turns)
{
	for (volatile int i = 0; i < turns; i++)
		;
}

EXPORTED OPAQUE int transact(long seed)
{
	long memory[RECORD_SIZE / sizeof(long)];
	int layout = 0;

	for (int round = 0; round < ROUNDS; round++) {
		int seen;

		make(memory, seed + round);
		linger(100);
		seen = use(memory, seed + round);
		if (seen < 0 || (layout && seen != layout))
			return -1;
		layout = seen;
	}
	return layout;
}

EXPORTED OPAQUE int transact_around(long seed, void (*between)(void *), void *argument)
{
	long memory[RECORD_SIZE / sizeof(long)];

	make(memory, seed);
	between(argument);
	return use(memory, seed);
}
