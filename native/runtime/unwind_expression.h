/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DWARF expressions (DWARF 4, section 2.5), as far as call frame information uses them. */
#ifndef ULP_UNWIND_EXPRESSION_H
#define ULP_UNWIND_EXPRESSION_H

#include "runtime/unwind.h"

/*
 * `initial` is what lies on the expression's stack before it begins, or NULL.  Returns false if it
 * makes no sense, takes too long, or reads memory that is not there.
 */
bool ulp_unwind_evaluate(struct ulp_unwinder *unwinder, struct ulp_bytes operations,
			 const uint64_t *initial, uint64_t *result);

/* A word of the stack, or of whatever else can be read. */
bool ulp_unwind_read(struct ulp_unwinder *unwinder, uint64_t address, uint64_t *word);

#endif
