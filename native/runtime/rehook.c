/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "arch.h"
#include "runtime/checksum.h"
#include "runtime/format.h"
#include "runtime/function.h"
#include "runtime/publish.h"
#include "runtime/rehook.h"
#include "runtime/state.h"

static const unsigned char *memory_of(const struct ulp_hook *hook)
{
	return (const unsigned char *)(hook->function - ULP_PAD_BEFORE);
}

/* The bytes, of those that the hook relies on, that are not as it left them: bit i for byte i. */
static uint32_t differing(const struct ulp_hook *hook)
{
	const unsigned char *memory = memory_of(hook);
	uint32_t bits = 0;

	for (unsigned i = 0; i < ULP_HOOK_CODE; i++)
		if (hook->relied & 1u << i && memory[i] != hook->code[i])
			bits |= 1u << i;
	return bits;
}

static bool is_original(const struct ulp_hook *hook, uint32_t bits)
{
	const unsigned char *memory = memory_of(hook);

	for (unsigned i = 0; i < ULP_HOOK_CODE; i++)
		if (bits & 1u << i && memory[i] != hook->original[i])
			return false;
	return true;
}

/* Whether anybody can still get to the slot jump: a hop is there whose first, or only, own byte is ours. */
static bool is_reachable(const struct ulp_hook *hook, const struct ulp_code_parts *parts,
			 uint32_t bits)
{
	uint32_t entry = hook->relied & parts->entry & parts->starts;
	uint32_t trampoline = hook->relied & parts->trampoline & ~parts->starts;

	return (entry & ~bits) || (trampoline & ~bits);
}

/*
 * A slot jump that threads may be executing is put back only where all of its instructions still begin
 * where they did, or a single byte makes them begin there: a thread between two nops would go on in
 * the middle of the jump.
 */
static bool can_be_put_back(const struct ulp_function *function, uint32_t bits)
{
	const struct ulp_hook *hook = function->shown;
	struct ulp_code_parts parts = ulp_code_parts(ulp_function_endbr(function));

	return is_original(hook, bits) &&
	       (!is_reachable(hook, &parts, bits) || !(bits & parts.slot_jump & ~parts.starts)) &&
	       ulp_checksum((const void *)hook->stub, ULP_STUB_SIZE) == hook->stub_checksum;
}

static bool holds_stub(const struct ulp_function *function)
{
	return __atomic_load_n(function->slot, __ATOMIC_RELAXED) == function->shown->stub;
}

struct examination {
	uint32_t domain;
	const struct ulp_function *refused;
	bool undone;
};

static bool examine(struct ulp_function *function, void *argument)
{
	struct examination *examination = argument;
	uint32_t bits;

	if (function->domain != examination->domain)
		return true;
	bits = differing(function->shown);
	if (bits || !holds_stub(function))
		examination->undone = true;
	if (!can_be_put_back(function, bits))
		examination->refused = function;
	return !examination->refused;
}

enum ulp_error ulp_hooks_examine(uint32_t domain, bool *undone, char *detail)
{
	struct examination examination = {.domain = domain};
	const struct ulp_library *library;

	ulp_function_each(examine, &examination);
	*undone = examination.undone;
	if (!examination.refused)
		return ULP_OK;
	library = &ulp_state.libraries[examination.refused->library];
	ulp_format(detail, ULP_DETAIL_SIZE, "function at 0x%llx of %s",
		   (unsigned long long)(examination.refused->address - library->base),
		   library->name);
	return ULP_UNEXPECTED_CODE;
}

/* One part of every hook of the domain after the other, as when they were made: see arch.h. */
enum step {
	SLOT_JUMP,
	ENTRY_SECOND,
	ENTRY_FIRST,
	TRAMPOLINE,
	STEPS,
};

struct putting_back {
	const struct ulp_text *text;
	uint32_t domain;
	enum step step;
	bool failed;
};

static uint32_t bytes_of(enum step step, const struct ulp_code_parts *parts)
{
	switch (step) {
	case SLOT_JUMP:
		return parts->slot_jump;
	case ENTRY_SECOND:
		return parts->entry & ~parts->starts;
	case ENTRY_FIRST:
		return parts->entry & parts->starts;
	default:
		return parts->trampoline;
	}
}

static bool put_back(struct ulp_function *function, void *argument)
{
	struct putting_back *how = argument;
	const struct ulp_hook *hook = function->shown;
	struct ulp_code_parts parts = ulp_code_parts(ulp_function_endbr(function));
	uint32_t bits;

	if (function->domain != how->domain)
		return true;
	if (how->step == SLOT_JUMP && !holds_stub(function))
		__atomic_store_n(function->slot, hook->stub, __ATOMIC_SEQ_CST);
	bits = differing(hook) & bytes_of(how->step, &parts);
	/* Somebody may have come since they were looked at. */
	how->failed = !is_original(hook, bits);
	for (unsigned i = 0; i < ULP_HOOK_CODE && !how->failed; i++)
		if (bits & 1u << i)
			how->failed = !ulp_text_write(how->text, (uint64_t)&memory_of(hook)[i],
						      &hook->code[i], 1);
	return !how->failed;
}

enum ulp_error ulp_hooks_put_back(const struct ulp_text *text, uint32_t domain, char *detail)
{
	struct putting_back how = {.text = text, .domain = domain};
	bool undone;
	enum ulp_error error;

	for (how.step = SLOT_JUMP; how.step < STEPS && !how.failed; how.step++) {
		ulp_function_each(put_back, &how);
		if (!ulp_text_barrier())
			return ULP_NO_BARRIER;
	}
	error = ulp_hooks_examine(domain, &undone, detail);
	if (!error && undone)
		error = ULP_TEXT_UNWRITABLE;
	if (!error && !ulp_publish_hooked_again(domain))
		error = ULP_FULL;
	return error;
}
