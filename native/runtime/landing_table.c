/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which landings there are: read on the way into functions, so that it is apart from what makes them. */
#include "runtime/landing_table.h"

/* Open addressing; never more than half full. */
#define PLACES (2 * ULP_LANDINGS)

/* No landing begins there: it was discarded.  The place serves again. */
#define DISCARDED 1u

static struct {
	uint64_t address; /* 0: free; written last */
	uint32_t frame;
} places[PLACES];
static uint32_t used;

static uint32_t first_place(uint64_t address)
{
	return (uint32_t)((address * 0x9e3779b97f4a7c15ull) >> 32) % PLACES;
}

static uint32_t find(uint64_t address)
{
	uint32_t place = first_place(address);
	uint64_t found;

	while ((found = __atomic_load_n(&places[place].address, __ATOMIC_ACQUIRE)) != 0 &&
	       found != address)
		place = (place + 1) % PLACES;
	return place;
}

/* Where one that is not in the table can stand. */
static uint32_t first_vacant(uint64_t address)
{
	uint32_t place = first_place(address);

	while (places[place].address > DISCARDED)
		place = (place + 1) % PLACES;
	return place;
}

uint32_t ulp_landing_frame(uint64_t address)
{
	uint32_t place = find(address);

	return address > DISCARDED && places[place].address == address ? places[place].frame : 0;
}

bool ulp_landing_note(uint64_t address, uint32_t frame)
{
	uint32_t place = find(address);

	if (places[place].address != address)
		place = first_vacant(address);
	if (!places[place].address && used == ULP_LANDINGS)
		return false;
	used += !places[place].address;
	places[place].frame = frame;
	__atomic_store_n(&places[place].address, address, __ATOMIC_RELEASE);
	return true;
}

void ulp_landing_forget(uint64_t address)
{
	uint32_t place = find(address);

	if (places[place].address == address)
		__atomic_store_n(&places[place].address, DISCARDED, __ATOMIC_RELEASE);
}
