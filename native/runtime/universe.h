/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Universes: which versions of functions a thread sees.
 *
 * A thread that is inside a domain's libraries keeps its number; one that comes in
 * from outside takes the domain's.  Whether it comes from outside is read off its
 * stack, at its first entry after a publish; nothing was left there before.
 */
#ifndef ULP_UNIVERSE_H
#define ULP_UNIVERSE_H

#include <stdbool.h>
#include <stdint.h>

#include "arch.h"

/*
 * From the next universe of `domain` on, the library counts as inside: its text, or, of a
 * program, its bodies, whatever is added to them.  Returns false if the table is full.
 */
bool ulp_universe_add_library(uint32_t domain, const struct ulp_library *library);

/*
 * The same for the text of a patch library that replaces part of the domain from its next universe
 * on: a thread with an older number that is in there was started there, or called back, and
 * is not inside the old library.
 */
bool ulp_universe_add_patch(uint32_t domain, uint64_t start, uint64_t end);

/* Call before publishing if a program's set of bodies has grown. */
void ulp_universe_grow(uint32_t domain);

/*
 * The universe below which no thread may come any more, because the older versions are given up.
 * Raise it before making sure of that.
 */
uint64_t ulp_universe_given_up(uint32_t domain);
void ulp_universe_give_up(uint32_t domain, uint64_t universe);

/* The distance of the runtime's own slot for `domain` from the thread pointer. */
int64_t ulp_universe_own_slot(uint32_t domain);

/*
 * Called by the slow path.  `return_address` points to the word at the stack
 * pointer of the entry.  Settles the calling thread's number and returns the
 * address to go on at.
 */
uint64_t ulp_universe_enter(const struct ulp_stub_descriptor *descriptor,
			    const uint64_t *return_address);

/*
 * Called by a diverted thread that computes all the time, and may never enter a library again: where
 * its stack shows it outside of a domain, it takes the domain's number here and now.
 */
void ulp_universe_catch_up(void);

#endif
