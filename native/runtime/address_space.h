/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that may not be there, or be gone the next moment; each question is a system call. */
#ifndef ULP_ADDRESS_SPACE_H
#define ULP_ADDRESS_SPACE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether all of [start, start + size) can be read; size at least 1. */
bool ulp_readable(uint64_t start, uint64_t size);

/* Whether the four bytes at `address`, a multiple of 4, are there and hold `value`. Never reads them itself. */
bool ulp_holds(uint64_t address, uint32_t value);

/*
 * Copies [from, from + size), and returns whether all of it was there.  For a thread that may have
 * the kernel copy, memory may go at any moment.  Any other reads what was there when it asked: call
 * it only for what stays while the thread is at it.
 */
bool ulp_copy(void *into, uint64_t from, uint64_t size);

/* The calling thread may make process_vm_readv(2) from now on: its seccomp filter does not kill for that. */
void ulp_copy_begins(void);

/* It may no longer. */
void ulp_copy_ends(void);

#endif
