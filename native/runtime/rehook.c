/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/checksum.h"
#include "runtime/format.h"
#include "runtime/function.h"
#include "runtime/publish.h"
#include "runtime/rehook.h"
#include "runtime/site.h"
#include "runtime/state.h"

static struct ulp_site_layout layout_of(const struct ulp_function *function)
{
	return ulp_site_of(function)->layout(function);
}

/* The bytes, of those that the hook relies on, that are not as it left them. */
static uint32_t differing(const struct ulp_function *function, const struct ulp_site_layout *layout)
{
	return ulp_site_differing(layout, function->shown->relied, function->shown->code);
}

static bool is_original(const struct ulp_function *function, const struct ulp_site_layout *layout,
			uint32_t bytes)
{
	return !ulp_site_differing(layout, bytes, function->shown->original);
}

/* Whether anybody can still get to the code behind the hops: the byte that decides is there of one. */
static bool is_reachable(const struct ulp_hook *hook, const struct ulp_site_layout *layout,
			 uint32_t bytes)
{
	for (unsigned i = 0; i < layout->step_count; i++)
		if (ulp_site_decides(layout, i) && hook->relied & layout->step[i].bytes & ~bytes)
			return true;
	return false;
}

static bool is_whole(const struct ulp_function *function)
{
	return !ulp_site_of(function)->is_whole || ulp_site_of(function)->is_whole(function);
}

/*
 * Code that threads may be executing is put back only where all of its instructions still begin
 * where they did, or a single byte makes them begin there: a thread between two nops would go on in
 * the middle of a jump.
 */
static bool can_be_put_back(const struct ulp_function *function,
			    const struct ulp_site_layout *layout, uint32_t bytes)
{
	const struct ulp_hook *hook = function->shown;

	return is_original(function, layout, bytes) && is_whole(function) &&
	       (!is_reachable(hook, layout, bytes) ||
		!(bytes & ulp_site_bytes(layout, 0) & ~layout->starts)) &&
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
	struct ulp_site_layout layout;
	uint32_t bytes;

	/* What is not hooked now relies on nothing. */
	if (function->domain != examination->domain || !function->shown->relied)
		return true;
	layout = layout_of(function);
	bytes = differing(function, &layout);
	if (bytes || !holds_stub(function))
		examination->undone = true;
	if (!can_be_put_back(function, &layout, bytes))
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

/* One step of every hook of the domain after the other, as when they were made. */
struct putting_back {
	const struct ulp_text *text;
	uint32_t domain;
	unsigned step;
	bool failed;
};

static bool put_back(struct ulp_function *function, void *argument)
{
	struct putting_back *how = argument;
	const struct ulp_hook *hook = function->shown;
	struct ulp_site_layout layout;
	uint32_t bytes;

	if (function->domain != how->domain || !hook->relied)
		return true;
	layout = layout_of(function);
	if (how->step == 0 && !holds_stub(function))
		__atomic_store_n(function->slot, hook->stub, __ATOMIC_SEQ_CST);
	if (how->step >= layout.step_count)
		return true;
	bytes = differing(function, &layout) & layout.step[how->step].bytes;
	/* Somebody may have come since they were looked at. */
	how->failed = !is_original(function, &layout, bytes) ||
		      !ulp_site_write_step(how->text, &layout, how->step, bytes, hook->code);
	return !how->failed;
}

enum ulp_error ulp_hooks_put_back(const struct ulp_text *text, uint32_t domain, char *detail)
{
	struct putting_back how = {.text = text, .domain = domain};
	bool undone;
	enum ulp_error error;

	for (; how.step < ULP_SITE_STEPS && !how.failed; how.step++) {
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
