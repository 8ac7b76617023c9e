/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/address_space.h"
#include "runtime/bodies.h"
#include "runtime/entering.h"
#include "runtime/function.h"
#include "runtime/system_code.h"
#include "runtime/site.h"
#include "runtime/stack.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"
#include "runtime/universe.h"

struct text {
	uint64_t start;
	uint64_t end;
	uint64_t since; /* no thread with an older number executes it as a part of the library */
	const struct ulp_library *by_bodies; /* whose bodies alone count; NULL: all of it counts */
	uint64_t resolver;                   /* as in struct ulp_library */
	uint32_t domain;
};

#define TEXTS (ULP_LIBRARIES + ULP_PATCHES)

/* Grows only; `text_count` is written after the entry. */
static struct text texts[TEXTS];
static uint32_t text_count;

/* By domain: the universe from which on what counts as inside is what it is now. */
static uint64_t grown[ULP_DOMAINS];

/* By domain: the universe below which versions of functions are given up. */
static uint64_t given_up[ULP_DOMAINS];

/* Numbers of domains whose library brings no slot of its own. */
static __thread uint64_t own_numbers[ULP_DOMAINS];

/* What a domain's `keeps` was when this thread last kept an old number; 0: never. */
static __thread uint64_t last_keeps[ULP_DOMAINS];

void ulp_universe_grow(uint32_t domain)
{
	__atomic_store_n(&grown[domain], ulp_state.domains[domain].universe + 1, __ATOMIC_RELEASE);
}

uint64_t ulp_universe_given_up(uint32_t domain)
{
	return given_up[domain];
}

void ulp_universe_give_up(uint32_t domain, uint64_t universe)
{
	__atomic_store_n(&given_up[domain], universe, __ATOMIC_SEQ_CST);
}

static bool add_text(const struct text *text)
{
	for (uint32_t i = 0; i < text_count; i++)
		if (texts[i].start == text->start && texts[i].end == text->end &&
		    texts[i].domain == text->domain)
			return true;
	if (text_count == TEXTS)
		return false;
	texts[text_count] = *text;
	__atomic_store_n(&text_count, text_count + 1, __ATOMIC_RELEASE);
	return true;
}

bool ulp_universe_add_library(uint32_t domain, const struct ulp_library *library)
{
	const struct text text = {
		.start = library->text_start,
		.end = library->text_end,
		.by_bodies = library->flags & ULP_LIBRARY_BY_BODIES ? library : NULL,
		.resolver = library->resolver,
		.domain = domain,
	};

	ulp_universe_grow(domain);
	return add_text(&text);
}

bool ulp_universe_add_patch(uint32_t domain, uint64_t start, uint64_t end)
{
	const struct text text = {
		.start = start,
		.end = end,
		.since = ulp_state.domains[domain].universe + 1,
		.domain = domain,
	};

	return add_text(&text);
}

int64_t ulp_universe_own_slot(uint32_t domain)
{
	return (int64_t)((uint64_t)&own_numbers[domain] - ulp_thread_pointer());
}

/* A thread that may be entering: the function, the thread's number, the word at the stack pointer. */
struct entry {
	const struct ulp_function *function;
	uint64_t number;
	const uint64_t *return_address;
	bool coroutine;
	uint64_t outside_at; /* with BEHIND */
};

static bool inside(const struct entry *entry, uint64_t address)
{
	uint32_t count = __atomic_load_n(&text_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count; i++)
		if (texts[i].domain == entry->function->domain && texts[i].since <= entry->number &&
		    address >= texts[i].start && address < texts[i].end &&
		    (!texts[i].by_bodies || ulp_bodies_hold(texts[i].by_bodies, address)))
			return true;
	return false;
}

/*
 * A jump out of the library, its last act, whose aim the loader is still looking for: no frame
 * of the library is left, and the loader may lead back into it.  What else the loader does, be
 * it a whole dlopen(), is called, and leaves the caller's frame on the stack.
 */
static bool bound_by(const struct entry *entry, uint64_t function)
{
	uint32_t count = __atomic_load_n(&text_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; function && i < count; i++)
		if (texts[i].domain == entry->function->domain && texts[i].resolver == function)
			return true;
	return false;
}

/*
 * What leads into a function counts as inside: a thread that was interrupted there may
 * have its decision behind it, and what a signal handler does now must not overturn it.
 * Whoever was interrupted in a function that the slow path calls has its return address
 * there.
 */
static bool inside_or_entering(const struct entry *entry, uint64_t address)
{
	return inside(entry, address) || ulp_entering(address);
}

enum proof {
	OUTSIDE,
	INSIDE,
	NO_PROOF,
	BEHIND, /* was outside at an older universe, and about later ones nothing is known yet */
};

struct search {
	const struct entry *entry;
	bool past_entry; /* frames before are the runtime's own, of this very entry */
	bool found;
	bool elsewhere;        /* the frames lead to another stack, or back */
	struct ulp_frame last; /* that was looked at; only with past_entry */
};

static bool look_for_frame(const struct ulp_frame *frame, void *argument)
{
	struct search *search = argument;

	/* The caller's stack pointer after the return. */
	if (frame->cfa_of_callee == (uint64_t)(search->entry->return_address + 1))
		search->past_entry = true;
	if (search->past_entry) {
		search->elsewhere |= frame->cfa_of_callee < search->last.cfa_of_callee;
		search->last = *frame;
	}
	if (search->past_entry && (inside_or_entering(search->entry, frame->instruction) ||
				   bound_by(search->entry, frame->function)))
		search->found = true;
	return !search->found;
}

static bool look_for_word(uint64_t word, void *argument)
{
	struct search *search = argument;

	/*
	 * A pointer to a hooked function is no frame: who goes there comes by the entry check.  But
	 * where a call ends right before it, the word may be that call's return address.
	 */
	search->found = inside_or_entering(search->entry, word) &&
			(!ulp_function_entry(word) || ulp_callsite_before(word));
	return !search->found;
}

/*
 * Where the stack begins of which no frame description tells anything.  Up to there all frames
 * are known, so other words are none, however large the arrays are in which they lie.  That the last
 * description was right shows where it leads: behind a call.
 */
static uint64_t untold_from(const struct search *search)
{
	const struct ulp_frame *last = &search->last;
	bool told = search->past_entry && !search->elsewhere &&
		    (last->interrupted ||
		     (ulp_readable(last->instruction - ULP_LONGEST_CALL, ULP_LONGEST_CALL) &&
		      ulp_callsite_before(last->instruction)));

	return told ? last->cfa_of_callee : (uint64_t)search->entry->return_address;
}

static enum proof prove_by_stack(const struct entry *entry)
{
	struct search search = {.entry = entry};

	/* A call from within: no need to look further. */
	if (inside_or_entering(entry, *entry->return_address))
		return INSIDE;
	if (ulp_stack_walk(look_for_frame, &search))
		return OUTSIDE;
	if (search.found)
		return INSIDE;
	/*
	 * A caller without frame description.  If no word from there on points into
	 * the library, none of its frames can be there.
	 */
	if (ulp_stack_scan(untold_from(&search), look_for_word, &search) && !search.found)
		return OUTSIDE;
	return NO_PROOF;
}

/*
 * Code inside the library may jump to this function as its last act, so that no frame of it
 * is left although the arguments come from its version.  Then the call that the caller made
 * named another function.  Where no direct jump leads here, an indirect one still may: there
 * a call that names another function of the library tells, and one that names none is
 * taken for an entry.
 */
static enum proof prove_by_call(const struct entry *entry)
{
	const struct ulp_function *function = entry->function;
	uint64_t target = ulp_callsite_target(*entry->return_address);
	bool by_name = ulp_site_of(function)->is_called_by(function, target);

	/* A thread with an older number is in no patch library's code: what would lead there leads on. */
	if (function->flags & ULP_SITE_CYCLE ||
	    (function->jumped_since && entry->number >= function->jumped_since))
		return NO_PROOF;
	if (by_name)
		return OUTSIDE;
	if (function->flags & ULP_SITE_TAIL)
		return NO_PROOF;
	return target && inside(entry, target) ? NO_PROOF : OUTSIDE;
}

/*
 * The core has seen every thread outside, or with the floor's number, and this one has not
 * kept an old number since the core began to look: it has not been inside since.
 */
static bool first_entry_since_settled(const struct entry *entry, uint64_t last_keep)
{
	const struct ulp_domain *domain = &ulp_state.domains[entry->function->domain];

	/* A coroutine may be where nobody has looked: it is not believed while its versions are there. */
	if (entry->coroutine &&
	    entry->number >= __atomic_load_n(&given_up[entry->function->domain], __ATOMIC_SEQ_CST))
		return false;
	return entry->number < __atomic_load_n(&domain->floor, __ATOMIC_SEQ_CST) &&
	       last_keep <= __atomic_load_n(&domain->floor_keeps, __ATOMIC_SEQ_CST);
}

/*
 * What the core saw then is all that there is to see, unless more counts as inside since: a
 * library or a function that only a later livepatch replaces.
 */
static enum proof was_outside(struct entry *entry, uint64_t universe)
{
	entry->outside_at = universe;
	return universe >= __atomic_load_n(&grown[entry->function->domain], __ATOMIC_ACQUIRE)
		       ? OUTSIDE
		       : BEHIND;
}

static enum proof prove_by_floor(struct entry *entry)
{
	const struct ulp_domain *domain = &ulp_state.domains[entry->function->domain];

	return was_outside(entry, __atomic_load_n(&domain->floor, __ATOMIC_SEQ_CST));
}

static bool excepted(const struct ulp_domain *domain)
{
	uint32_t count = __atomic_load_n(&domain->excepted_count, __ATOMIC_RELAXED);
	uint64_t tid = ulp_thread_id();

	for (uint32_t i = 0; i < count && i < ULP_EXCEPTED; i++)
		if (__atomic_load_n(&domain->excepted[i], __ATOMIC_RELAXED) == tid)
			return true;
	return false;
}

/*
 * The same of all threads but some, for an entry that nothing else can prove.  No old version is
 * gone for that, so whoever reads while it changes goes on without.
 */
static enum proof prove_by_look(struct entry *entry, uint64_t last_keep)
{
	const struct ulp_domain *domain = &ulp_state.domains[entry->function->domain];
	uint32_t sequence = __atomic_load_n(&domain->seen_sequence, __ATOMIC_ACQUIRE);
	uint64_t seen = __atomic_load_n(&domain->seen, __ATOMIC_RELAXED);

	if (entry->coroutine || sequence % 2 || entry->number >= seen ||
	    last_keep > __atomic_load_n(&domain->seen_keeps, __ATOMIC_RELAXED) || excepted(domain))
		return NO_PROOF;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&domain->seen_sequence, __ATOMIC_RELAXED) != sequence)
		return NO_PROOF;
	return was_outside(entry, seen);
}

static enum proof prove(struct entry *entry)
{
	struct ulp_domain *domain = &ulp_state.domains[entry->function->domain];
	uint64_t *last_keep = &last_keeps[entry->function->domain];
	uint64_t earlier = *last_keep;
	enum proof proof;

	if (first_entry_since_settled(entry, earlier))
		return prove_by_floor(entry);
	proof = prove_by_stack(entry);
	if (proof == OUTSIDE)
		proof = prove_by_call(entry);
	/* Last: in a child forked inside, say, the stack knows better than the list of threads. */
	if (proof == NO_PROOF)
		proof = prove_by_look(entry, earlier);
	if (proof == OUTSIDE || proof == BEHIND)
		return proof;
	/*
	 * The worker settles by: store the floor, barrier, look at `keeps`, and give old stubs up
	 * only if nobody has kept a number.  Here it is the other way round: count, then look
	 * at the floor again.  One of the two sees the other.
	 */
	*last_keep = __atomic_add_fetch(&domain->keeps, 1, __ATOMIC_SEQ_CST);
	return first_entry_since_settled(entry, earlier) ? prove_by_floor(entry) : proof;
}

/* Never back: a signal handler may have gone further meanwhile, and been seen to. */
static void raise_number(uint64_t *number, uint64_t universe)
{
	uint64_t found = __atomic_load_n(number, __ATOMIC_RELAXED);

	while (found < universe && !__atomic_compare_exchange_n(number, &found, universe, false,
								__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

uint64_t ulp_universe_enter(const struct ulp_stub_descriptor *descriptor,
			    const uint64_t *return_address)
{
	const struct ulp_function *function = (const struct ulp_function *)descriptor->function;
	struct ulp_domain *domain = &ulp_state.domains[function->domain];
	uint64_t *number = (uint64_t *)(ulp_thread_pointer() + (uint64_t)domain->tls_offset);
	/* Read before the proof: whatever is published meanwhile is for the next entry. */
	uint64_t universe = __atomic_load_n(&domain->universe, __ATOMIC_ACQUIRE);
	struct entry entry = {
		.function = function,
		.number = *number,
		.return_address = return_address,
		.coroutine = ulp_stack_of_coroutine((uint64_t)return_address),
	};
	enum proof proof = prove(&entry);

	__atomic_add_fetch(&domain->slow_entries, 1, __ATOMIC_RELAXED);
	if (entry.coroutine)
		__atomic_add_fetch(&domain->coroutines, 1, __ATOMIC_RELAXED);
	switch (proof) {
	case OUTSIDE:
		raise_number(number, universe);
		break;
	case BEHIND:
		raise_number(number, entry.outside_at);
		break;
	case INSIDE:
		__atomic_add_fetch(&domain->kept, 1, __ATOMIC_RELAXED);
		break;
	case NO_PROOF:
		__atomic_add_fetch(&domain->unprovable, 1, __ATOMIC_RELAXED);
		break;
	}
	/* Whoever has got a number has a record. */
	if (proof != INSIDE)
		ulp_thread_note(function->domain, proof != NO_PROOF);

	/*
	 * With a new number the thread must go by the newest stub: the one it came
	 * through may have been written before the patch that the number admits.  With the
	 * older one of a look it comes back here from there.
	 */
	if (proof == OUTSIDE || proof == BEHIND)
		return __atomic_load_n(function->slot, __ATOMIC_ACQUIRE);
	return ulp_code_kept(descriptor);
}

static bool look_behind_diversion(const struct ulp_frame *frame, void *argument)
{
	struct search *search = argument;

	/* Frames before are those of the diversion itself. */
	search->past_entry |= frame->interrupted;
	search->found |=
		search->past_entry && (inside_or_entering(search->entry, frame->instruction) ||
				       bound_by(search->entry, frame->function));
	return !search->found;
}

void ulp_universe_catch_up(void)
{
	uint32_t count = __atomic_load_n(&ulp_state.domain_count, __ATOMIC_ACQUIRE);

	/* It may have gone into the library on another stack. */
	if (ulp_stack_of_coroutine((uint64_t)__builtin_frame_address(0)))
		return;
	for (uint32_t i = 0; i < count; i++) {
		struct ulp_domain *domain = &ulp_state.domains[i];
		/* Read before the look, as at an entry. */
		uint64_t universe = __atomic_load_n(&domain->universe, __ATOMIC_ACQUIRE);
		uint64_t *number =
			(uint64_t *)(ulp_thread_pointer() + (uint64_t)domain->tls_offset);
		const struct ulp_function none = {.domain = i};
		const struct entry entry = {.function = &none, .number = *number};
		struct search search = {.entry = &entry};

		if (*number >= universe || !ulp_stack_walk(look_behind_diversion, &search) ||
		    search.found)
			continue;
		raise_number(number, universe);
		ulp_thread_note(i, true);
	}
}
