/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/site.h"

const struct ulp_site_kind *ulp_site_of(const struct ulp_function *function)
{
	(void)function;
	return &ulp_site_padding;
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

bool ulp_site_write_single(const struct ulp_text *text, const struct ulp_site_layout *layout,
			   uint32_t bytes, const unsigned char code[ULP_HOOK_CODE])
{
	uint32_t differing = ulp_site_differing(layout, bytes, code);

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
