/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/hook_table.h"
#include "runtime/site.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/unhook.h"

struct undoing {
	const struct ulp_text *text;
	uint32_t domain;
	unsigned step; /* they are taken back from the last to the first */
	bool needed;
	bool failed;
};

/* Older stubs are there for as long as a thread may have an older number. */
static bool is_needed(struct ulp_function *function, void *argument)
{
	struct undoing *undoing = argument;

	undoing->needed =
		function->domain == undoing->domain && function->stubs && function->stubs->older;
	return !undoing->needed;
}

static bool goes(const struct ulp_function *function, uint32_t domain)
{
	return function->domain == domain && function->hooked &&
	       ulp_site_of(function)->goes_when_reverted;
}

static bool any_goes(struct ulp_function *function, void *argument)
{
	struct undoing *undoing = argument;

	undoing->needed = goes(function, undoing->domain);
	return !undoing->needed;
}

static bool is_replaced(struct ulp_function *function, void *argument)
{
	struct undoing *undoing = argument;

	undoing->needed = function->domain == undoing->domain && function->versions;
	return !undoing->needed;
}

bool ulp_hooks_go(uint32_t domain)
{
	struct undoing undoing = {.domain = domain};

	ulp_function_each(is_replaced, &undoing);
	if (undoing.needed)
		return false;
	ulp_function_each(any_goes, &undoing);
	return undoing.needed;
}

/* Whether every step behind `step` was taken back. */
static bool is_next(const struct ulp_site_layout *layout, unsigned step,
		    const unsigned char original[ULP_HOOK_CODE])
{
	uint32_t behind = 0;

	for (unsigned i = step + 1; i < layout->step_count; i++)
		behind |= layout->step[i].bytes;
	return !ulp_site_differing(layout, behind, original);
}

/* A function whose hook can't be taken back keeps it, and the others lose theirs. */
static bool take_step_back(struct ulp_function *function, void *argument)
{
	struct undoing *undoing = argument;
	const struct ulp_hook *hook = function->shown;
	struct ulp_site_layout layout;

	if (!goes(function, undoing->domain))
		return true;
	layout = ulp_site_of(function)->layout(function);
	/* Where somebody else's code stands by now, it is that which is to be taken off first. */
	if (undoing->step >= layout.step_count ||
	    !is_next(&layout, undoing->step, hook->original) ||
	    ulp_site_differing(&layout, layout.step[undoing->step].bytes, hook->code))
		return true;
	if (!ulp_site_write_step(undoing->text, &layout, undoing->step,
				 layout.step[undoing->step].bytes, hook->original))
		undoing->failed = true;
	return true;
}

static bool note_undone(struct ulp_function *function, void *argument)
{
	const struct undoing *undoing = argument;
	struct ulp_site_layout layout;

	if (!goes(function, undoing->domain))
		return true;
	layout = ulp_site_of(function)->layout(function);
	if (!ulp_site_differing(&layout, ulp_site_bytes(&layout, function->hooked),
				function->shown->original)) {
		function->hooked = 0;
		(void)ulp_hook_update(function);
	}
	return true;
}

static enum ulp_error undo(struct undoing *undoing)
{
	bool barred = false;

	for (undoing->step = ULP_SITE_STEPS; undoing->step-- > 0 && !barred;) {
		ulp_function_each(take_step_back, undoing);
		barred = !ulp_text_barrier();
	}
	/* However far it got: what is shown is what is there. */
	ulp_state_begin_change();
	ulp_function_each(note_undone, undoing);
	ulp_state_end_change();
	if (barred)
		return ULP_NO_BARRIER;
	return undoing->failed ? ULP_TEXT_UNWRITABLE : ULP_OK;
}

enum ulp_error ulp_hooks_undo(uint32_t domain)
{
	struct undoing undoing = {.domain = domain};
	struct ulp_text text;
	enum ulp_error error;

	ulp_function_each(is_needed, &undoing);
	if (undoing.needed)
		return ULP_OK;
	error = ulp_text_open(&text);
	if (error)
		return error;
	undoing.text = &text;
	error = undo(&undoing);
	ulp_text_close(&text);
	return error;
}
