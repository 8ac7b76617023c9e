/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a reader outside sees of the hooks: what must stand in memory for them to work.  The functions
 * that one request hooks in one library are one table, in the order of the functions.
 */
#ifndef ULP_HOOK_TABLE_H
#define ULP_HOOK_TABLE_H

#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/function.h"

/* A table for `count` functions that nobody sees yet; NULL if there is no memory.  free() takes it back. */
struct ulp_hooks *ulp_hook_table_reserve(uint32_t count);
struct ulp_hook *ulp_hook_table_entries(struct ulp_hooks *table);

/* Notes where the function is and what stands there, before anything of it is written. */
void ulp_hook_note(struct ulp_function *function);
/*
 * Notes the function's slot, and what its site relies on with the hops that are on now.  Returns
 * false, having noted nothing, if the slot is not within reach of the site.
 */
bool ulp_hook_update(struct ulp_function *function);

/* Shows the first `count` of the table as part of the library. */
void ulp_hook_table_show(struct ulp_library *library, struct ulp_hooks *table, uint32_t count);

#endif
