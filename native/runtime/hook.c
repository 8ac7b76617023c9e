/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "runtime/format.h"
#include "runtime/function.h"
#include "runtime/hook.h"
#include "runtime/hook_table.h"
#include "runtime/landing.h"
#include "runtime/request.h"
#include "runtime/site.h"
#include "runtime/slot.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/universe.h"

/* The functions of one library that are to be hooked by this request. */
struct hooks {
	struct ulp_function **function;
	uint32_t *missing; /* of ULP_SITE_HOPS, not switched on yet */
	uint32_t count;
	struct ulp_function *created; /* those that are new, ascending */
	struct ulp_hooks *table;      /* what is shown of those */
	uint32_t created_count;
	uint64_t *slots;
};

static void forget(const struct ulp_text *text, struct hooks *hooks)
{
	for (uint32_t i = 0; hooks->created && i < hooks->created_count; i++) {
		struct ulp_function *function = &hooks->created[i];

		if (ulp_site_of(function)->discard)
			ulp_site_of(function)->discard(text, function);
	}
	free(hooks->function);
	free(hooks->missing);
	free(hooks->created);
	free(hooks->table);
	*hooks = (struct hooks){.count = 0};
}

static enum ulp_error unexpected(uint64_t address, const struct ulp_library *library, char *detail)
{
	ulp_format(detail, ULP_DETAIL_SIZE, "function at 0x%llx of %s",
		   (unsigned long long)(address - library->base), library->name);
	return ULP_UNEXPECTED_CODE;
}

/* Whether what is to be switched on at a function that is hooked already can be: nobody else is there. */
static bool is_free(const struct ulp_function *function, uint32_t hops)
{
	struct ulp_site_layout layout = ulp_site_of(function)->layout(function);

	if (!hops)
		return true;
	return !ulp_site_differing(&layout, ulp_site_bytes(&layout, hops),
				   function->shown->original) &&
	       (!ulp_site_of(function)->is_unchanged ||
		ulp_site_of(function)->is_unchanged(function));
}

/* Memory for what plan_hooks() finds at ``count`` sites; forget() frees it, also where only a part was to be had. */
static bool reserve(struct hooks *hooks, uint32_t count)
{
	hooks->function = calloc(count + 1, sizeof *hooks->function);
	hooks->missing = calloc(count + 1, sizeof *hooks->missing);
	hooks->created = ulp_function_reserve(count + 1);
	hooks->table = ulp_hook_table_reserve(count + 1);
	return hooks->function && hooks->missing && hooks->created && hooks->table;
}

/* Looks at everything, and changes nothing that anybody could notice. */
static enum ulp_error plan_hooks(const struct ulp_taken_library *wanted, uint32_t library_index,
				 struct hooks *hooks, char *detail)
{
	const struct ulp_library *library = &ulp_state.libraries[library_index];
	enum ulp_error error;

	for (uint32_t i = 0; i < wanted->said->site_count; i++) {
		const struct ulp_request_site *site = &wanted->sites[i];
		uint64_t address = library->base + site->function;
		struct ulp_function *function = ulp_function_find(address);
		uint32_t hops = site->flags & ULP_SITE_HOPS;

		if (!function) {
			function = &hooks->created[hooks->created_count];
			function->address = address;
			function->shown =
				&ulp_hook_table_entries(hooks->table)[hooks->created_count++];
			function->library = library_index;
			function->domain = library->domain;
			function->flags = site->flags;
			error = ulp_site_of(function)->plan(function, hops, wanted);
			if (error == ULP_UNEXPECTED_CODE)
				return unexpected(address, library, detail);
			if (error)
				return error;
		} else if (!is_free(function, hops & ~function->hooked)) {
			return unexpected(address, library, detail);
		} else {
			__atomic_or_fetch(&function->flags,
					  site->flags & (ULP_SITE_TAIL | ULP_SITE_CYCLE),
					  __ATOMIC_RELAXED);
		}
		if (site->flags & ULP_SITE_JUMPED && !function->jumped_since)
			__atomic_store_n(&function->jumped_since,
					 ulp_state.domains[library->domain].universe + 1,
					 __ATOMIC_RELAXED);
		hops &= ~function->hooked;
		/* Threads entered unseen while its hook was undone. */
		if (hops && function->stubs && ulp_site_of(function)->goes_when_reverted)
			ulp_universe_grow(function->domain);
		if (hops || !function->stubs) {
			hooks->function[hooks->count] = function;
			hooks->missing[hooks->count++] = hops;
		}
	}
	return ULP_OK;
}

/* Writing what stands there already tells whether writing is possible at all. */
static bool writable(const struct ulp_text *text, uint64_t address)
{
	unsigned char byte = *(const unsigned char *)address;

	return ulp_text_write(text, address, &byte, 1);
}

/* Takes back what write_created() wrote, which nobody could get to: a later request must find the site hookable. */
static void take_back(const struct ulp_text *text, struct hooks *hooks)
{
	for (uint32_t i = 0; i < hooks->created_count && hooks->created[i].stubs; i++) {
		struct ulp_function *function = &hooks->created[i];
		struct ulp_site_layout layout = ulp_site_of(function)->layout(function);

		/* Where it cannot be written any more, the function can't be hooked any more. */
		(void)ulp_site_write(text, &layout, ulp_site_bytes(&layout, 0),
				     function->shown->original);
		ulp_stub_discard(function->stubs);
	}
	if (hooks->slots)
		ulp_slots_unmap(hooks->slots, hooks->created_count);
}

/* Stub, slot and the way to it, all of it still dead code. */
static enum ulp_error write_created(const struct ulp_text *text, struct hooks *hooks, char *detail)
{
	for (uint32_t i = 0; i < hooks->created_count; i++) {
		struct ulp_function *function = &hooks->created[i];
		struct ulp_stub_record *stub;
		struct ulp_site_layout layout;
		enum ulp_error error = ULP_OK;

		if (ulp_site_of(function)->prepare)
			error = ulp_site_of(function)->prepare(text, function, detail);
		else
			function->slot = &hooks->slots[i];
		if (error)
			return error;
		ulp_hook_note(function);
		layout = ulp_site_of(function)->layout(function);
		stub = ulp_stub_write(text, function, 0, 0);
		/* Whether it can be written was tried before. */
		if (!stub)
			return ULP_NO_MEMORY;
		ulp_stub_put_in_place(function, stub);
		if (!ulp_hook_update(function))
			return ULP_NO_MEMORY;
		if (!ulp_site_write(text, &layout, ulp_site_bytes(&layout, 0),
				    function->shown->code))
			return ULP_TEXT_UNWRITABLE;
	}
	return ULP_OK;
}

/* One step of one function: written, unless it belongs to no hop that is to be switched on. */
static bool take_step(const struct ulp_text *text, struct ulp_function *function, unsigned step,
		      uint32_t hops)
{
	struct ulp_site_layout layout = ulp_site_of(function)->layout(function);
	unsigned char code[ULP_HOOK_CODE];

	if (step >= layout.step_count || !(layout.step[step].hop & hops))
		return true;
	/* It was within reach when the way to the slot was written. */
	(void)ulp_site_of(function)->encode(function, code);
	if (!ulp_site_write_step(text, &layout, step, layout.step[step].bytes, code))
		return false;
	if (ulp_site_decides(&layout, step))
		function->hooked |= layout.step[step].hop;
	return true;
}

static enum ulp_error switch_on(const struct ulp_text *text, struct hooks *hooks)
{
	for (unsigned step = 0; step < ULP_SITE_STEPS; step++) {
		if (!ulp_text_barrier())
			return ULP_NO_BARRIER;
		for (uint32_t i = 0; i < hooks->count; i++)
			if (!take_step(text, hooks->function[i], step, hooks->missing[i]))
				return ULP_TEXT_UNWRITABLE;
	}
	return ulp_text_barrier() ? ULP_OK : ULP_NO_BARRIER;
}

static void show(const struct hooks *hooks)
{
	ulp_state_begin_change();
	for (uint32_t i = 0; i < hooks->count; i++)
		(void)ulp_hook_update(hooks->function[i]);
	ulp_state_end_change();
}

static bool needs_slots(const struct hooks *hooks)
{
	for (uint32_t i = 0; i < hooks->created_count; i++)
		if (!ulp_site_of(&hooks->created[i])->prepare)
			return true;
	return false;
}

static enum ulp_error hook(const struct ulp_text *text, struct ulp_library *library,
			   struct hooks *hooks, char *detail)
{
	enum ulp_error error;

	if (hooks->count == 0)
		return ULP_OK;
	if (!writable(text, hooks->function[0]->address) || !writable(text, ulp_state.stubs_start))
		return ULP_TEXT_UNWRITABLE;
	if (hooks->created_count) {
		if (needs_slots(hooks))
			hooks->slots = ulp_slots_map(library, hooks->created_count);
		if (needs_slots(hooks) && !hooks->slots) {
			ulp_format(detail, ULP_DETAIL_SIZE, "no memory within reach of %s",
				   library->name);
			return ULP_NO_MEMORY;
		}
		error = write_created(text, hooks, detail);
		/* From here on the functions stay: what is switched on is only added to. */
		if (!error && !ulp_function_publish(hooks->created, hooks->created_count))
			error = ULP_NO_MEMORY;
		if (error) {
			take_back(text, hooks);
			return error;
		}
		ulp_hook_table_show(library, hooks->table, hooks->created_count);
		hooks->created = NULL;
		hooks->table = NULL;
	}
	error = switch_on(text, hooks);
	show(hooks);
	return error;
}

static enum ulp_error hook_all(const struct ulp_text *text, const struct ulp_taken *taken,
			       struct hooks *hooks, char *detail)
{
	uint32_t count = taken->request->library_count;
	uint64_t stubs = 0;
	enum ulp_error error = ULP_OK;

	for (uint32_t i = 0; i < count; i++)
		if (!reserve(&hooks[i], taken->libraries[i].said->site_count))
			return ULP_NO_MEMORY;
	for (uint32_t i = 0; i < count && !error; i++) {
		const struct ulp_taken_library *wanted = &taken->libraries[i];

		error = plan_hooks(wanted, ulp_state_find_library(wanted->said->base), &hooks[i],
				   detail);
		stubs += hooks[i].created_count + wanted->said->replacement_count;
	}
	if (!error && !ulp_stubs_left(stubs)) {
		ulp_format(detail, ULP_DETAIL_SIZE, "no room for %llu stubs",
			   (unsigned long long)stubs);
		error = ULP_FULL;
	}
	for (uint32_t i = 0; i < count && !error; i++) {
		uint64_t base = taken->libraries[i].said->base;

		error = hook(text, &ulp_state.libraries[ulp_state_find_library(base)], &hooks[i],
			     detail);
	}
	return error;
}

enum ulp_error ulp_hook_libraries(const struct ulp_text *text, const struct ulp_taken *taken,
				  char *detail)
{
	struct hooks *hooks = calloc(taken->request->library_count + 1, sizeof *hooks);
	enum ulp_error error;

	if (!hooks)
		return ULP_NO_MEMORY;
	error = hook_all(text, taken, hooks, detail);
	ulp_landings_close();
	for (uint32_t i = 0; i < taken->request->library_count; i++)
		forget(text, &hooks[i]);
	free(hooks);
	return error;
}
