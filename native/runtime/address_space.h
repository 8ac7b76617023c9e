/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions about memory that may not be there; each is a system call. */
#ifndef ULP_ADDRESS_SPACE_H
#define ULP_ADDRESS_SPACE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether all of [start, start + size) can be read; size at least 1. */
bool ulp_readable(uint64_t start, uint64_t size);

/* Whether the four bytes at `address`, a multiple of 4, are there and hold `value`. Never reads them itself. */
bool ulp_holds(uint64_t address, uint32_t value);

#endif
