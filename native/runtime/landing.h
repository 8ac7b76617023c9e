/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Landings: where the jumps of puns lead.  Each is one jump, to a cell, in a page that is mapped just
 * there.  The page is of a file, so that no anonymous memory becomes executable.
 *
 * No frame description covers a landing; whoever unwinds from one knows it by this table.
 */
#ifndef ULP_LANDING_H
#define ULP_LANDING_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/text.h"

/*
 * The distance of the canonical frame address from the stack pointer at the landing that begins at
 * `address`; 0: none does.  Takes no lock; may be called from anywhere.
 */
uint32_t ulp_landing_frame(uint64_t address);

/*
 * Makes a landing that leads to `cell`.  ULP_NO_LANDING: something else is there, or may come to be,
 * or the address is none of user space; ULP_NO_MEMORY: no page can be had, and `*number` is the kernel's
 * error; ULP_FULL: there are too many.
 */
enum ulp_error ulp_landing_make(const struct ulp_text *text, uint64_t address, uint64_t cell,
				uint32_t frame, long *number);

/* Takes a landing back to which nothing has led yet. */
void ulp_landing_discard(const struct ulp_text *text, uint64_t address);

/* Closes what was opened to make landings. */
void ulp_landings_close(void);

#endif
