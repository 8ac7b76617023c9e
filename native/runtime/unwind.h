/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a frame to its caller, by the call frame information of .eh_frame (DWARF 4, section 6.4).
 *
 * Takes no lock, allocates nothing, and may be used from anywhere.  It reads from stacks and from
 * segments of loaded objects alone: on a stack that the thread was not started with, and where a
 * description leads elsewhere, the kernel is asked for each page first.
 */
#ifndef ULP_UNWIND_H
#define ULP_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

#include "arch.h"
#include "runtime/frame_description.h"

struct ulp_unwinder {
	uint64_t registers
		[ULP_UNWIND_REGISTERS]; /* as the frame has them; the instruction, 0 at the end */
	uint64_t cfa_of_callee;
	bool interrupted; /* by a signal, or diverted: not at a call */
	bool described;   /* there is a description, namely this one */
	struct ulp_frame_description description;
	/* The rest is for the unwinder alone. */
	const struct ulp_image *image;
	struct ulp_image room;
	uint64_t readable_from; /* stack that is known to be there */
	uint64_t readable_to;
	unsigned turns; /* frames that lie below the one that they called */
};

/* The frame with these registers, of which the caller has set those that are known. */
void ulp_unwind_begin(struct ulp_unwinder *unwinder);

/* On to the caller.  Returns false if the frame has no description, or it makes no sense. */
bool ulp_unwind_step(struct ulp_unwinder *unwinder);

#endif
