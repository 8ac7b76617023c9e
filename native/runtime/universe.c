/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "runtime/function.h"
#include "runtime/stack.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"
#include "runtime/universe.h"

struct text {
	uint64_t start;
	uint64_t end;
	uint32_t domain;
};

#define TEXTS (ULP_LIBRARIES + ULP_PATCHES)

/* Grows only; `text_count` is written after the entry. */
static struct text texts[TEXTS];
static uint32_t text_count;

/* Numbers of domains whose library brings no slot of its own. */
static __thread uint64_t own_numbers[ULP_DOMAINS];

bool ulp_universe_add_text(uint32_t domain, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < text_count; i++)
		if (texts[i].start == start && texts[i].end == end && texts[i].domain == domain)
			return true;
	if (text_count == TEXTS)
		return false;
	texts[text_count] = (struct text){.start = start, .end = end, .domain = domain};
	__atomic_store_n(&text_count, text_count + 1, __ATOMIC_RELEASE);
	return true;
}

int64_t ulp_universe_own_slot(uint32_t domain)
{
	return (int64_t)((uint64_t)&own_numbers[domain] - ulp_thread_pointer());
}

static bool inside(uint32_t domain, uint64_t address)
{
	uint32_t count = __atomic_load_n(&text_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count; i++)
		if (texts[i].domain == domain && address >= texts[i].start &&
		    address < texts[i].end)
			return true;
	return false;
}

/*
 * The stubs and the slow path count as inside: a thread that was interrupted there may
 * have its decision behind it, and what a signal handler does now must not overturn it.
 * Whoever was interrupted in a function that the slow path calls has its return address
 * there.
 */
static bool inside_or_entering(uint32_t domain, uint64_t address)
{
	return inside(domain, address) ||
	       (address >= ulp_state.text_start && address < ulp_state.text_end);
}

enum proof {
	OUTSIDE,
	INSIDE,
	NO_PROOF,
};

struct search {
	uint32_t domain;
	uint64_t caller_cfa; /* the caller's stack pointer after the return */
	bool past_entry;     /* frames before are the runtime's own, of this very entry */
	bool found;
};

static bool look_for_frame(const struct ulp_frame *frame, void *argument)
{
	struct search *search = argument;

	if (frame->cfa_of_callee == search->caller_cfa)
		search->past_entry = true;
	if (search->past_entry && inside_or_entering(search->domain, frame->instruction))
		search->found = true;
	return !search->found;
}

static bool look_for_word(uint64_t word, void *argument)
{
	struct search *search = argument;

	/* A pointer to a hooked function is no frame: who goes there comes by the entry check. */
	search->found = inside_or_entering(search->domain, word) && !ulp_function_entry(word);
	return !search->found;
}

static enum proof prove(uint32_t domain, const uint64_t *return_address)
{
	struct search search = {.domain = domain, .caller_cfa = (uint64_t)(return_address + 1)};

	/* A call from within: no need to look further. */
	if (inside_or_entering(domain, *return_address))
		return INSIDE;
	if (ulp_stack_walk(look_for_frame, &search))
		return OUTSIDE;
	if (search.found)
		return INSIDE;
	/*
	 * A caller without frame description.  If no word from here on points into
	 * the library, none of its frames can be there.
	 */
	if (ulp_stack_scan((uint64_t)return_address, look_for_word, &search) && !search.found)
		return OUTSIDE;
	return NO_PROOF;
}

/*
 * Code inside the library may jump to this function as its last act, so that no
 * frame of it is left although the arguments come from its version.  Then the call
 * that the caller made named another function.
 */
static bool called_by_name(const struct ulp_function *function, uint64_t return_address)
{
	uint64_t target = ulp_callsite_target(return_address);

	return target >= function->address - ULP_PAD_BEFORE && target <= function->address;
}

static enum proof prove_entry(const struct ulp_function *function, const uint64_t *return_address,
			      uint64_t number)
{
	const struct ulp_domain *domain = &ulp_state.domains[function->domain];
	enum proof proof;

	/* It was outside when the floor was settled, and has had no entry since: this is its first. */
	if (number < __atomic_load_n(&domain->floor, __ATOMIC_ACQUIRE))
		return OUTSIDE;
	proof = prove(function->domain, return_address);

	if (proof == OUTSIDE && (function->flags & ULP_SITE_TAIL) &&
	    !called_by_name(function, *return_address))
		return NO_PROOF;
	return proof;
}

uint64_t ulp_universe_enter(const struct ulp_stub_descriptor *descriptor,
			    const uint64_t *return_address)
{
	const struct ulp_function *function = (const struct ulp_function *)descriptor->function;
	struct ulp_domain *domain = &ulp_state.domains[function->domain];
	uint64_t *number = (uint64_t *)(ulp_thread_pointer() + (uint64_t)domain->tls_offset);
	/* Read before the proof: whatever is published meanwhile is for the next entry. */
	uint64_t universe = __atomic_load_n(&domain->universe, __ATOMIC_ACQUIRE);
	int saved_errno = errno;
	enum proof proof = prove_entry(function, return_address, *number);

	__atomic_add_fetch(&domain->slow_entries, 1, __ATOMIC_RELAXED);
	switch (proof) {
	case OUTSIDE:
		*(volatile uint64_t *)number = universe;
		break;
	case INSIDE:
		__atomic_add_fetch(&domain->kept, 1, __ATOMIC_RELAXED);
		break;
	case NO_PROOF:
		__atomic_add_fetch(&domain->unprovable, 1, __ATOMIC_RELAXED);
		break;
	}
	if (proof != INSIDE)
		ulp_thread_note(function->domain, proof == OUTSIDE);
	errno = saved_errno;

	/*
	 * With a new number the thread must go by the newest stub: the one it came
	 * through may have been written before the patch that the number admits.
	 */
	if (proof == OUTSIDE)
		return __atomic_load_n(function->slot, __ATOMIC_ACQUIRE);
	return ulp_code_chain_of(descriptor);
}
