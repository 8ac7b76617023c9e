/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Code that a thread passes on its way into a function: stubs, cells, the slow path, and landings.
 * Whoever is interrupted there may have its decision behind it, and counts as inside.
 */
#ifndef ULP_ENTERING_H
#define ULP_ENTERING_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/landing.h"
#include "runtime/state.h"

static inline bool ulp_entering(uint64_t address)
{
	return (address >= ulp_state.text_start && address < ulp_state.text_end) ||
	       ulp_landing_frame(address);
}

#endif
