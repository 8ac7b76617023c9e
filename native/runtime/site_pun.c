/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Functions that were compiled without padding: an instruction at the start, or behind pushes, becomes
 * a jump by a change of its first byte, or of some more bytes of this one instruction.  The other
 * bytes of the displacement stay what they are, so that where it leads is given.  Or two bytes become
 * a short jump to a gap between functions, and what is written there leads anywhere.
 *
 * A jump in a gap stays once it was written: a thread may be on its way through it.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/address_space.h"
#include "runtime/cell.h"
#include "runtime/checksum.h"
#include "runtime/format.h"
#include "runtime/landing_table.h"
#include "runtime/request.h"
#include "runtime/site.h"
#include "runtime/site_pun.h"
#include "runtime/state.h"

static struct ulp_site_layout layout_of(const struct ulp_function *function)
{
	const struct ulp_pun *pun = function->pun;
	unsigned size = pun->code.gap ? ULP_SHORT_JUMP_SIZE : ULP_JUMP_SIZE;
	uint32_t written = (1u << pun->written) - 1, all = (1u << size) - 1;

	return (struct ulp_site_layout){
		.address = pun->code.site,
		.size = size,
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

/* A copy of code. */
struct covering {
	unsigned char *bytes;
	uint64_t start;
	uint64_t size;
};

static void put_into(const struct covering *covering, uint64_t address, unsigned char byte)
{
	if (address >= covering->start && address < covering->start + covering->size)
		covering->bytes[address - covering->start] = byte;
}

/* What stood where the function is hooked stands in the copy. */
static bool uncover(struct ulp_function *function, void *argument)
{
	const struct covering *covering = argument;
	const struct ulp_pun *pun = function->pun;
	uint32_t relied = function->shown->relied;
	struct ulp_site_layout layout;

	if (pun && pun->code.gap)
		for (unsigned i = 0; i < ULP_JUMP_SIZE; i++)
			put_into(covering, pun->code.gap + i, pun->gap_original[i]);
	if (!relied)
		return true;
	layout = ulp_site_of(function)->layout(function);
	for (unsigned i = 0; i < layout.size; i++)
		if (relied & 1u << i)
			put_into(covering, layout.address + i, function->shown->original[i]);
	return true;
}

static void copy_uncovered(unsigned char *to, uint64_t address, uint32_t size)
{
	struct covering covering = {.bytes = to, .start = address, .size = size};

	memcpy(to, (const void *)address, size);
	ulp_function_each(uncover, &covering);
}

/* All of the function, and the gap, is what the livepatch was made for, but for hooks that stand in it. */
static enum ulp_error require_code(uint64_t function, uint32_t size, uint64_t gap,
				   uint32_t checksum)
{
	unsigned char *bytes = malloc((size_t)size + ULP_JUMP_SIZE);
	bool same;

	if (!bytes)
		return ULP_NO_MEMORY;
	copy_uncovered(bytes, function, size);
	if (gap)
		copy_uncovered(bytes + size, gap, ULP_JUMP_SIZE);
	same = ulp_checksum(bytes, size + (gap ? ULP_JUMP_SIZE : 0)) == checksum;
	free(bytes);
	return same ? ULP_OK : ULP_UNEXPECTED_CODE;
}

static enum ulp_error plan(struct ulp_function *function, uint32_t hops,
			   const struct ulp_taken_library *library)
{
	const struct ulp_request_pun *puns = library->puns;
	uint64_t base = library->said->base;
	uint32_t first = 0, count = library->said->pun_count, end;

	(void)hops;
	while (first < count && base + puns[first].function != function->address)
		first++;
	for (end = first; end < count && puns[end].function == puns[first].function;)
		end++;
	if (first == end)
		return ULP_BAD_REQUEST;
	for (uint32_t i = first; i < end; i++) {
		uint64_t gap = puns[i].gap ? base + puns[i].gap : 0;
		enum ulp_error error =
			require_code(function->address, puns[i].size, gap, puns[i].checksum);

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
	uint64_t site, gap; /* gap 0: none */
	bool near;
};

static bool overlap(uint64_t jump, uint64_t other)
{
	return jump && other && jump < other + ULP_JUMP_SIZE && other < jump + ULP_JUMP_SIZE;
}

/* What one jump reads as its displacement another one must not write. */
static bool look_at_neighbour(struct ulp_function *function, void *argument)
{
	struct neighbours *wanted = argument;
	const struct ulp_code_pun *other;

	if (!function->pun || function == wanted->function)
		return true;
	other = &function->pun->code;
	wanted->near = overlap(wanted->site, other->site) || overlap(wanted->site, other->gap) ||
		       overlap(wanted->gap, other->site) || overlap(wanted->gap, other->gap);
	return !wanted->near;
}

static bool has_neighbour(const struct ulp_function *function, uint64_t base,
			  const struct ulp_request_pun *offered)
{
	struct neighbours neighbours = {
		.function = function,
		.site = base + offered->site,
		.gap = offered->gap ? base + offered->gap : 0,
	};

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
		.gap = offered->gap ? base + offered->gap : 0,
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

/* The jump in the gap.  Nobody is on his way through it, or will be before the site is written. */
static enum ulp_error bridge(const struct ulp_text *text, struct ulp_function *function)
{
	struct ulp_hook *shown = function->shown;
	struct ulp_pun *pun = function->pun;
	const unsigned char *jump = &pun->code.code[ULP_SHORT_JUMP_SIZE];

	if (!pun->code.gap)
		return ULP_OK;
	memcpy(pun->gap_original, (const void *)pun->code.gap, ULP_JUMP_SIZE);
	memcpy(&shown->original[ULP_SHORT_JUMP_SIZE], pun->gap_original, ULP_JUMP_SIZE);
	memcpy(&shown->code[ULP_SHORT_JUMP_SIZE], jump, ULP_JUMP_SIZE);
	if (!ulp_landing_note(pun->code.gap, pun->code.frame_before))
		return ULP_FULL;
	if (ulp_text_write(text, pun->code.gap, jump, ULP_JUMP_SIZE))
		return ULP_OK;
	ulp_landing_forget(pun->code.gap);
	return ULP_TEXT_UNWRITABLE;
}

static void take_bridge_back(const struct ulp_text *text, const struct ulp_pun *pun)
{
	if (!pun->code.gap)
		return;
	/* Where it can't be written any more, the function can't be hooked there any more. */
	(void)ulp_text_write(text, pun->code.gap, pun->gap_original, ULP_JUMP_SIZE);
	ulp_landing_forget(pun->code.gap);
}

/* From the site to the cell. */
static enum ulp_error make_way(const struct ulp_text *text, struct ulp_function *function,
			       long *number)
{
	const struct ulp_hook *shown = function->shown;
	enum ulp_error error = ulp_landing_make(text, shown->landing, shown->cell,
						function->pun->code.frame_before, number);

	if (error)
		return error;
	error = bridge(text, function);
	if (error)
		ulp_landing_discard(text, shown->landing);
	return error;
}

/* Cell, landing and gap of what has been chosen; nothing leads there yet. */
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
		error = make_way(text, function, number);
	}
	if (error) {
		ulp_cell_discard(shown->cell);
		pun->code.site = pun->code.gap = 0;
		return error;
	}
	shown->landing_checksum = ulp_checksum((const void *)shown->landing, ULP_LANDING_SIZE);
	shown->start = pun->code.site;
	shown->kind = pun->code.gap ? ULP_HOOK_SHORT : ULP_HOOK_PUN;
	shown->frame = pun->code.frame_before;
	return ULP_OK;
}

static enum ulp_error prepare(const struct ulp_text *text, struct ulp_function *function,
			      char *detail)
{
	struct ulp_pun *pun = function->pun;
	const struct ulp_library *library = &ulp_state.libraries[function->library];
	enum ulp_error error = ULP_NO_LANDING;
	bool denied = false;
	long number = 0;

	for (uint32_t i = 0; i < pun->offered_count && error == ULP_NO_LANDING; i++) {
		if (has_neighbour(function, library->base, &pun->offered[i]))
			continue;
		if (!can_be_written(library->base, &pun->offered[i])) {
			denied = true;
			continue;
		}
		choose(pun, library->base, &pun->offered[i]);
		error = make(text, function, &number);
	}
	pun->offered = NULL;
	if (error)
		ulp_format(detail, ULP_DETAIL_SIZE,
			   number ? "function at 0x%llx of %s, error %d of the kernel"
			   : denied
				   ? "function at 0x%llx of %s, some sites of which mprotect denies"
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
		take_bridge_back(text, function->pun);
		ulp_landing_discard(text, function->shown->landing);
		ulp_cell_discard(function->shown->cell);
	}
	free(function->pun);
	function->pun = NULL;
}

/* ------------------------------------------------------------------ what stands */

static bool encode(const struct ulp_function *function, unsigned char code[ULP_HOOK_CODE])
{
	memcpy(code, function->pun->code.code, ULP_PUN_CODE);
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

static bool is_bridged(const struct ulp_pun *pun)
{
	return !pun->code.gap || memcmp((const void *)pun->code.gap,
					&pun->code.code[ULP_SHORT_JUMP_SIZE], ULP_JUMP_SIZE) == 0;
}

/* The program may have mapped something over a landing. */
static bool is_whole(const struct ulp_function *function)
{
	const struct ulp_hook *shown = function->shown;

	return is_bridged(function->pun) && ulp_readable(shown->landing, ULP_LANDING_SIZE) &&
	       ulp_checksum((const void *)shown->landing, ULP_LANDING_SIZE) ==
		       shown->landing_checksum &&
	       ulp_checksum((const void *)shown->cell, ULP_CELL_SIZE) == shown->cell_checksum;
}

static bool is_unchanged(const struct ulp_function *function)
{
	const struct ulp_pun *pun = function->pun;

	return is_whole(function) &&
	       require_code(function->address, pun->size, pun->code.gap, pun->checksum) == ULP_OK;
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
