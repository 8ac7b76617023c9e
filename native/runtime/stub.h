/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stubs in the pool: written, put in place, and given up once no thread can be in one. */
#ifndef ULP_STUB_H
#define ULP_STUB_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/function.h"
#include "runtime/text.h"

/* A function's stubs, newest first; each leads to the next one for threads with older numbers. */
struct ulp_stub_record {
	struct ulp_stub_record *older;
	uint64_t address;
	uint32_t checksum; /* of its code */
	uint64_t from;     /* the universe from which on it leads to a replacement; 0: to none */
};

bool ulp_stubs_left(uint64_t count);

/*
 * Writes one stub, which nobody reaches yet.  With `from` = 0 it has no replacement: it
 * only checks entries.  NULL if there is no memory or no way to write.
 */
struct ulp_stub_record *ulp_stub_write(const struct ulp_text *text,
				       const struct ulp_function *function, uint64_t from,
				       uint64_t replacement);

/*
 * Makes a stub, written for this function, its newest: one store to the slot.  Where the function is
 * shown outside, that is a change of the state block.
 */
void ulp_stub_put_in_place(struct ulp_function *function, struct ulp_stub_record *stub);

/* A stub that was written and is not wanted after all. */
void ulp_stub_discard(struct ulp_stub_record *stub);

/*
 * Gives up every stub of the domain that only threads with numbers below `floor` could
 * reach: there are none.
 */
void ulp_stubs_give_up(uint32_t domain, uint64_t floor);

#endif
