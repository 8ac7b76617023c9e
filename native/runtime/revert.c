/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "runtime/format.h"
#include "runtime/function.h"
#include "runtime/publish.h"
#include "runtime/revert.h"
#include "runtime/settle.h"
#include "runtime/site.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/text.h"

struct revert {
	uint32_t patch;
	uint64_t universe;
	const struct ulp_text *text;
	struct ulp_pending *pending;
	uint32_t count;
	enum ulp_error error;
};

static struct ulp_version *version_of(const struct ulp_function *function, uint32_t patch)
{
	for (struct ulp_version *version = function->versions; version; version = version->older)
		if (version->patch == patch)
			return version;
	return NULL;
}

static bool count_versions(struct ulp_function *function, void *argument)
{
	struct revert *revert = argument;

	if (version_of(function, revert->patch))
		revert->count++;
	return true;
}

/* What the function is without this patch: the next older version, or the original. */
static bool write_older(struct ulp_function *function, void *argument)
{
	struct revert *revert = argument;
	struct ulp_version *version = version_of(function, revert->patch);
	struct ulp_pending *next = &revert->pending[revert->count];
	uint64_t target;

	if (!version)
		return true;
	next->function = function;
	next->version = version;
	revert->count++;
	if (version != function->versions)
		return true; /* a newer patch covers it, before and after */
	target = version->older ? version->older->target
				: ulp_site_of(function)->old_version(function);
	next->stub = ulp_stub_write(revert->text, function, revert->universe, target);
	if (!next->stub)
		revert->error = ULP_TEXT_UNWRITABLE;
	return !revert->error;
}

static void drop_version(struct ulp_function *function, struct ulp_version *version)
{
	struct ulp_version **link = &function->versions;

	while (*link != version)
		link = &(*link)->older;
	*link = version->older;
	free(version);
}

enum ulp_error ulp_revert(const struct ulp_request *request, uint64_t *universe, char *detail)
{
	struct revert revert = {.patch = ulp_state_find_patch(request->patch_id)};
	struct ulp_text text;

	if (revert.patch == ULP_NONE || ulp_state.patches[revert.patch].status != ULP_PATCH_APPLIED)
		return ULP_NOT_APPLIED;
	revert.error = ulp_text_open(&text);
	if (revert.error)
		return revert.error;
	ulp_settle_domain(ulp_state.patches[revert.patch].domain, request);
	ulp_function_each(count_versions, &revert);
	revert.universe = ulp_state.domains[ulp_state.patches[revert.patch].domain].universe + 1;
	revert.pending = calloc(revert.count + 1, sizeof *revert.pending);
	if (!ulp_stubs_left(revert.count) || revert.universe > INT32_MAX) {
		ulp_format(detail, ULP_DETAIL_SIZE, "no room for %u stubs", revert.count);
		revert.error = ULP_FULL;
	} else if (!revert.pending) {
		revert.error = ULP_NO_MEMORY;
	}
	revert.text = &text;
	revert.count = 0;
	if (!revert.error)
		ulp_function_each(write_older, &revert);
	if (!revert.error && !ulp_text_barrier())
		revert.error = ULP_NO_BARRIER;
	ulp_text_close(&text);
	if (!revert.error) {
		ulp_pending_put_in_place(revert.pending, revert.count);
		ulp_publish(revert.patch, ULP_PATCH_REVERTED);
		for (uint32_t i = 0; i < revert.count; i++)
			drop_version(revert.pending[i].function, revert.pending[i].version);
		*universe = ulp_state.patches[revert.patch].reverted_universe;
	} else {
		ulp_pending_discard(revert.pending, revert.count);
	}
	free(revert.pending);
	return revert.error;
}
