/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table behind landing.h. */
#ifndef ULP_LANDING_TABLE_H
#define ULP_LANDING_TABLE_H

#include "runtime/landing.h"

/* As many as there are cells, and some that were made in vain. */
#define ULP_LANDINGS 8192

/* False: it is full. */
bool ulp_landing_note(uint64_t address, uint32_t frame);
void ulp_landing_forget(uint64_t address);

#endif
