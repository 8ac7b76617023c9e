/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The padding that the compiler leaves before a function and at its entry, and the trampoline that
 * post makes of it: two hops to one jump through the slot.
 */
#include <string.h>

#include "arch.h"
#include "runtime/site.h"

static struct ulp_site_layout layout_of(const struct ulp_function *function)
{
	bool endbr = ulp_function_endbr(function);
	struct ulp_code_parts parts = ulp_code_parts(endbr);
	uint64_t start = function->address - ULP_PAD_BEFORE;

	return (struct ulp_site_layout){
		.address = start,
		.size = (unsigned)(ulp_code_resume(function->address, endbr) - start),
		.step_count = 5,
		/* Of the hop at the entry the second byte comes first: see arch.h. */
		.step =
			{
				{.bytes = parts.slot_jump},
				{.bytes = parts.entry & ~parts.starts, .hop = ULP_SITE_ENTRY},
				{.bytes = parts.entry & parts.starts, .hop = ULP_SITE_ENTRY},
				{.bytes = parts.trampoline & parts.starts,
				 .hop = ULP_SITE_TRAMPOLINE},
				{.bytes = parts.trampoline & ~parts.starts,
				 .hop = ULP_SITE_TRAMPOLINE},
			},
		.starts = parts.starts,
	};
}

static enum ulp_error plan(struct ulp_function *function, uint32_t hops,
			   const struct ulp_taken_library *library)
{
	(void)library;
	return ulp_code_hookable(function->address, ulp_function_endbr(function),
				 hops & ULP_SITE_TRAMPOLINE)
		       ? ULP_OK
		       : ULP_UNEXPECTED_CODE;
}

static void put(const struct ulp_function *function, const struct ulp_code_patch *patch,
		unsigned char code[ULP_HOOK_CODE])
{
	memcpy(&code[patch->address - (function->address - ULP_PAD_BEFORE)], patch->bytes,
	       patch->size);
}

static bool encode(const struct ulp_function *function, unsigned char code[ULP_HOOK_CODE])
{
	bool endbr = ulp_function_endbr(function);
	struct ulp_code_patch patch[2];
	unsigned count;

	if (!ulp_code_slot_jump(function->address, endbr, (uint64_t)function->slot, patch, &count))
		return false;
	for (unsigned i = 0; i < count; i++)
		put(function, &patch[i], code);
	ulp_code_entry_hop(function->address, endbr, patch);
	put(function, &patch[0], code);
	put(function, &patch[1], code);
	/* The hop is the displacement of a jump that post wrote. */
	code[0] = function->shown->original[0];
	ulp_code_trampoline_hop(function->address, endbr, patch);
	put(function, &patch[0], code);
	return true;
}

static uint64_t old_version(const struct ulp_function *function)
{
	return ulp_code_resume(function->address, ulp_function_endbr(function));
}

static bool is_called_by(const struct ulp_function *function, uint64_t address)
{
	return address >= function->address - ULP_PAD_BEFORE && address <= function->address;
}

const struct ulp_site_kind ulp_site_padding = {
	.layout = layout_of,
	.plan = plan,
	.encode = encode,
	.old_version = old_version,
	.is_called_by = is_called_by,
};
