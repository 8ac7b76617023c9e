/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Functions that were compiled without padding: an instruction at the start, or behind pushes, becomes
 * a jump by a change of its first byte, or of some more bytes of this one instruction.  The other
 * bytes of the displacement stay what they are, so that where it leads is given.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/address_space.h"
#include "runtime/cell.h"
#include "runtime/checksum.h"
#include "runtime/format.h"
#include "runtime/landing.h"
#include "runtime/request.h"
#include "runtime/site.h"
#include "runtime/site_pun.h"
#include "runtime/state.h"

#define JUMP_SIZE 5

static struct ulp_site_layout layout_of(const struct ulp_function *function)
{
	const struct ulp_pun *pun = function->pun;
	uint32_t written = (1u << pun->written) - 1, all = (1u << JUMP_SIZE) - 1;

	return (struct ulp_site_layout){
		.address = pun->code.site,
		.size = JUMP_SIZE,
		.step_count = 2,
		/* The first one writes nothing: these bytes must be there. */
		.step =
			{
				{.bytes = all & ~written, .hop = ULP_SITE_ENTRY},
				{.bytes = written,
				 .hop = ULP_SITE_ENTRY,
				 .at_once = pun->written > 1},
			},
		.starts = 1,
	};
}

/* ------------------------------------------------------------------ planning */

struct covering {
	unsigned char *bytes;
	uint64_t start;
	uint64_t size;
};

/* What stood where the function is hooked stands in the copy. */
static bool uncover(struct ulp_function *function, void *argument)
{
	const struct covering *covering = argument;
	struct ulp_site_layout layout;
	uint32_t relied = function->shown->relied;

	if (!relied)
		return true;
	layout = ulp_site_of(function)->layout(function);
	for (unsigned i = 0; i < layout.size; i++)
		if (relied & 1u << i && layout.address + i >= covering->start &&
		    layout.address + i < covering->start + covering->size)
			covering->bytes[layout.address + i - covering->start] =
				function->shown->original[i];
	return true;
}

/* All of the function is what the livepatch was made for, but for hooks that stand in it. */
static enum ulp_error require_code(uint64_t function, uint32_t size, uint32_t checksum)
{
	struct covering covering = {.start = function, .size = size, .bytes = malloc(size)};
	bool same;

	if (!covering.bytes)
		return ULP_NO_MEMORY;
	memcpy(covering.bytes, (const void *)function, size);
	ulp_function_each(uncover, &covering);
	same = ulp_checksum(covering.bytes, size) == checksum;
	free(covering.bytes);
	return same ? ULP_OK : ULP_UNEXPECTED_CODE;
}

static enum ulp_error plan(struct ulp_function *function, uint32_t hops,
			   const struct ulp_request *request,
			   const struct ulp_request_library *library)
{
	const struct ulp_request_pun *puns = ulp_request_puns(request, library);
	uint32_t first = 0, end;

	(void)hops;
	while (first < library->pun_count &&
	       library->base + puns[first].function != function->address)
		first++;
	for (end = first; end < library->pun_count && puns[end].function == puns[first].function;)
		end++;
	if (first == end)
		return ULP_BAD_REQUEST;
	for (uint32_t i = first; i < end; i++) {
		enum ulp_error error =
			require_code(function->address, puns[i].size, puns[i].checksum);

		if (error)
			return error;
	}
	function->pun = calloc(1, sizeof *function->pun);
	if (!function->pun)
		return ULP_NO_MEMORY;
	function->pun->offered = &puns[first];
	function->pun->offered_count = end - first;
	return ULP_OK;
}

/* ------------------------------------------------------------------ choosing */

struct neighbours {
	const struct ulp_function *function;
	uint64_t site;
	bool near;
};

/* What one jump reads as its displacement another one must not write. */
static bool look_at_neighbour(struct ulp_function *function, void *argument)
{
	struct neighbours *neighbours = argument;
	uint64_t other;

	if (!function->pun || function == neighbours->function || !function->pun->code.site)
		return true;
	other = function->pun->code.site;
	neighbours->near =
		other < neighbours->site + JUMP_SIZE && neighbours->site < other + JUMP_SIZE;
	return !neighbours->near;
}

static bool has_neighbour(const struct ulp_function *function, uint64_t site)
{
	struct neighbours neighbours = {.function = function, .site = site};

	ulp_function_each(look_at_neighbour, &neighbours);
	return neighbours.near;
}

/* More than one byte at once, only where the process may make its code writable: as it is written now, it is tried. */
static bool can_be_written(uint64_t base, const struct ulp_request_pun *offered)
{
	uint64_t site = base + offered->site;

	return offered->written == 1 || ulp_text_store(site, (const void *)site, offered->written);
}

static void choose(struct ulp_pun *pun, uint64_t base, const struct ulp_request_pun *offered)
{
	pun->code = (struct ulp_code_pun){
		.function = base + offered->function,
		.site = base + offered->site,
		.length = offered->length,
		.instruction = (enum ulp_pun_instruction)offered->instruction,
		.displacement = offered->displacement,
		.frame_before = offered->frame_before,
		.frame_after = offered->frame_after,
	};
	memcpy(pun->code.code, offered->code, sizeof pun->code.code);
	pun->written = offered->written;
	pun->size = offered->size;
	pun->checksum = offered->checksum;
}

/* Cell and landing of what has been chosen; nothing leads there yet. */
static enum ulp_error make(const struct ulp_text *text, struct ulp_function *function, long *number)
{
	struct ulp_hook *shown = function->shown;
	struct ulp_pun *pun = function->pun;
	unsigned char code[ULP_CELL_SIZE];
	enum ulp_error error;

	shown->cell = ulp_cell_take(&function->slot);
	if (!shown->cell)
		return ULP_FULL;
	shown->landing = ulp_code_pun_landing(&pun->code);
	if (!ulp_code_cell(&pun->code, (uint64_t)function->slot, shown->cell, code)) {
		error = ULP_NO_LANDING;
	} else if (!ulp_text_write(text, shown->cell, code, sizeof code)) {
		error = ULP_TEXT_UNWRITABLE;
	} else {
		shown->cell_checksum = ulp_checksum(code, sizeof code);
		error = ulp_landing_make(text, shown->landing, shown->cell, pun->code.frame_before,
					 number);
	}
	if (error) {
		ulp_cell_discard(shown->cell);
		pun->code.site = 0;
		return error;
	}
	shown->landing_checksum = ulp_checksum((const void *)shown->landing, ULP_LANDING_SIZE);
	shown->start = pun->code.site;
	shown->kind = ULP_HOOK_PUN;
	shown->frame = pun->code.frame_before;
	return ULP_OK;
}

static enum ulp_error prepare(const struct ulp_text *text, struct ulp_function *function,
			      char *detail)
{
	struct ulp_pun *pun = function->pun;
	const struct ulp_library *library = &ulp_state.libraries[function->library];
	enum ulp_error error = ULP_NO_LANDING;
	long number = 0;

	for (uint32_t i = 0; i < pun->offered_count && error == ULP_NO_LANDING; i++) {
		if (has_neighbour(function, library->base + pun->offered[i].site) ||
		    !can_be_written(library->base, &pun->offered[i]))
			continue;
		choose(pun, library->base, &pun->offered[i]);
		error = make(text, function, &number);
	}
	pun->offered = NULL;
	if (error)
		ulp_format(detail, ULP_DETAIL_SIZE,
			   number ? "function at 0x%llx of %s, error %d of the kernel"
				  : "function at 0x%llx of %s",
			   (unsigned long long)(function->address - library->base), library->name,
			   (int)-number);
	return error;
}

static void discard(const struct ulp_text *text, struct ulp_function *function)
{
	if (!function->pun)
		return;
	if (function->pun->code.site) {
		ulp_landing_discard(text, function->shown->landing);
		ulp_cell_discard(function->shown->cell);
	}
	free(function->pun);
	function->pun = NULL;
}

/* ------------------------------------------------------------------ what stands */

static bool encode(const struct ulp_function *function, unsigned char code[ULP_HOOK_CODE])
{
	memcpy(code, function->pun->code.code, JUMP_SIZE);
	return true;
}

static uint64_t old_version(const struct ulp_function *function)
{
	return function->shown->cell + ULP_CELL_OLD;
}

static bool is_called_by(const struct ulp_function *function, uint64_t address)
{
	return address == function->address;
}

/* The program may have mapped something over a landing. */
static bool is_whole(const struct ulp_function *function)
{
	const struct ulp_hook *shown = function->shown;

	return ulp_readable(shown->landing, ULP_LANDING_SIZE) &&
	       ulp_checksum((const void *)shown->landing, ULP_LANDING_SIZE) ==
		       shown->landing_checksum &&
	       ulp_checksum((const void *)shown->cell, ULP_CELL_SIZE) == shown->cell_checksum;
}

static bool is_unchanged(const struct ulp_function *function)
{
	return is_whole(function) && require_code(function->address, function->pun->size,
						  function->pun->checksum) == ULP_OK;
}

const struct ulp_site_kind ulp_site_pun = {
	.layout = layout_of,
	.plan = plan,
	.prepare = prepare,
	.discard = discard,
	.encode = encode,
	.old_version = old_version,
	.is_called_by = is_called_by,
	.is_whole = is_whole,
	.is_unchanged = is_unchanged,
	.goes_when_reverted = true,
};
