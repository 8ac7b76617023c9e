/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "runtime/hook_table.h"
#include "runtime/site.h"
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
	struct ulp_site_layout layout = ulp_site_of(function)->layout(function);

	shown->function = function->address;
	shown->start = layout.address;
	memcpy(shown->original, (const void *)layout.address, layout.size);
	memcpy(shown->code, shown->original, layout.size);
}

bool ulp_hook_update(struct ulp_function *function)
{
	struct ulp_hook *shown = function->shown;
	struct ulp_site_layout layout = ulp_site_of(function)->layout(function);
	unsigned char code[ULP_HOOK_CODE];

	if (!ulp_site_of(function)->encode(function, code))
		return false;
	shown->slot = (uint64_t)function->slot;
	shown->relied = ulp_site_bytes(&layout, 0);
	if (function->hooked)
		shown->relied |= ulp_site_bytes(&layout, function->hooked);
	for (unsigned i = 0; i < layout.size; i++)
		if (shown->relied & 1u << i)
			shown->code[i] = code[i];
	return true;
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
