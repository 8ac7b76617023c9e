/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing code that other threads may be executing. */
#ifndef ULP_TEXT_H
#define ULP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/descriptor.h"

struct ulp_text {
	struct ulp_descriptor memory; /* /proc/self/mem, if that could be opened */
};

/* Registers for barriers; ULP_NO_BARRIER if the kernel has none that reaches instruction fetch. */
enum ulp_error ulp_text_open(struct ulp_text *text);
void ulp_text_close(struct ulp_text *text);

/*
 * Writes through the page protection.  Returns false, having written nothing, if
 * there is no way to.
 */
bool ulp_text_write(const struct ulp_text *text, uint64_t address, const void *bytes, size_t size);

/*
 * Writes up to 8 bytes within one aligned word by one store of the processor.  Returns false, having
 * written nothing, where the process may not make its code writable for that moment.
 */
bool ulp_text_store(uint64_t address, const void *bytes, size_t size);

/*
 * Returns when every thread of the process has executed a serializing instruction:
 * none can still run on code that was fetched before.
 */
bool ulp_text_barrier(void);

#endif
