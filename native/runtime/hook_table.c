/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "runtime/hook_table.h"
#include "runtime/state.h"

struct ulp_hooks *ulp_hook_table_reserve(uint32_t count)
{
	return calloc(1, sizeof(struct ulp_hooks) + (size_t)count * sizeof(struct ulp_hook));
}

struct ulp_hook *ulp_hook_table_entries(struct ulp_hooks *table)
{
	return (struct ulp_hook *)(table + 1);
}

void ulp_hook_note(struct ulp_function *function)
{
	struct ulp_hook *shown = function->shown;
	size_t size =
		ULP_PAD_BEFORE + (ulp_code_resume(function->address, ulp_function_endbr(function)) -
				  function->address);

	shown->function = function->address;
	memcpy(shown->original, (const void *)(function->address - ULP_PAD_BEFORE), size);
	memcpy(shown->code, shown->original, size);
}

static void put(struct ulp_hook *shown, const struct ulp_code_patch *patch)
{
	memcpy(&shown->code[patch->address - (shown->function - ULP_PAD_BEFORE)], patch->bytes,
	       patch->size);
}

void ulp_hook_update(struct ulp_function *function)
{
	struct ulp_hook *shown = function->shown;
	bool endbr = ulp_function_endbr(function);
	struct ulp_code_parts parts = ulp_code_parts(endbr);
	struct ulp_code_patch patches[2];
	unsigned count;

	shown->slot = (uint64_t)function->slot;
	shown->relied = parts.slot_jump;
	/* It was in reach when it was written. */
	(void)ulp_code_slot_jump(function->address, endbr, shown->slot, patches, &count);
	for (unsigned i = 0; i < count; i++)
		put(shown, &patches[i]);
	if (function->hooked & ULP_SITE_ENTRY) {
		shown->relied |= parts.entry;
		ulp_code_entry_hop(function->address, endbr, patches);
		put(shown, &patches[0]);
		put(shown, &patches[1]);
	}
	if (function->hooked & ULP_SITE_TRAMPOLINE) {
		shown->relied |= parts.trampoline;
		ulp_code_trampoline_hop(function->address, endbr, patches);
		put(shown, &patches[0]);
	}
}

void ulp_hook_table_show(struct ulp_library *library, struct ulp_hooks *table, uint32_t count)
{
	ulp_state_begin_change();
	table->older = library->hooks;
	table->older_count = library->hooks_count;
	library->hooks = (uint64_t)table;
	library->hooks_count = count;
	library->hooked += count;
	ulp_state_end_change();
}
