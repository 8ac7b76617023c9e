/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "record.h"
#include "../shapes.h"

#include <string.h>

EXPORTED OPAQUE void make_new(void *memory, long seed)
{
	struct new_record *record = memory;

	memset(memory, 0, RECORD_SIZE);
	strcpy(record->name, "new");
	record->seed = NEW_SEED(seed);
	record->inverse = ~seed;
	record->square = (long)((unsigned long)seed * (unsigned long)seed);
}

EXPORTED OPAQUE KEEPING int use_new(const void *memory, long seed)
{
	const struct new_record *record = memory;

	if (record->seed != NEW_SEED(seed) || record->inverse != ~seed ||
	    record->square != (long)((unsigned long)seed * (unsigned long)seed) ||
	    strcmp(record->name, "new") != 0)
		return -1;
	return 2;
}
