/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/site.h"

const struct ulp_site_kind *ulp_site_of(const struct ulp_function *function)
{
	return function->flags & ULP_SITE_PUN ? &ulp_site_pun : &ulp_site_padding;
}

uint32_t ulp_site_bytes(const struct ulp_site_layout *layout, uint32_t hops)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < layout->step_count; i++)
		if (hops ? layout->step[i].hop & hops : !layout->step[i].hop)
			bytes |= layout->step[i].bytes;
	return bytes;
}

uint32_t ulp_site_differing(const struct ulp_site_layout *layout, uint32_t bytes,
			    const unsigned char expected[ULP_HOOK_CODE])
{
	const unsigned char *memory = (const unsigned char *)layout->address;
	uint32_t differing = 0;

	for (unsigned i = 0; i < layout->size; i++)
		if (bytes & 1u << i && memory[i] != expected[i])
			differing |= 1u << i;
	return differing;
}

bool ulp_site_write(const struct ulp_text *text, const struct ulp_site_layout *layout,
		    uint32_t bytes, const unsigned char code[ULP_HOOK_CODE])
{
	unsigned count;

	for (unsigned i = 0; i < layout->size; i += count) {
		for (count = 0; i + count < layout->size && bytes & 1u << (i + count);)
			count++;
		if (count && !ulp_text_write(text, layout->address + i, &code[i], count))
			return false;
		count += !count;
	}
	return true;
}

bool ulp_site_write_step(const struct ulp_text *text, const struct ulp_site_layout *layout,
			 unsigned step, uint32_t bytes, const unsigned char code[ULP_HOOK_CODE])
{
	uint32_t differing = ulp_site_differing(layout, bytes & layout->step[step].bytes, code);
	unsigned count = 0;

	if (layout->step[step].at_once && differing) {
		while (layout->step[step].bytes & 1u << count)
			count++;
		return ulp_text_store(layout->address, code, count);
	}
	for (unsigned i = 0; i < layout->size; i++)
		if (differing & 1u << i && !ulp_text_write(text, layout->address + i, &code[i], 1))
			return false;
	return true;
}

bool ulp_site_decides(const struct ulp_site_layout *layout, unsigned step)
{
	for (unsigned i = step + 1; i < layout->step_count; i++)
		if (layout->step[i].hop == layout->step[step].hop)
			return false;
	return layout->step[step].hop;
}
