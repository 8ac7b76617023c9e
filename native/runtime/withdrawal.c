/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "runtime/format.h"
#include "runtime/function.h"
#include "runtime/request.h"
#include "runtime/site.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/withdrawal.h"

enum ulp_error ulp_withdrawal_read(const struct ulp_taken *taken, uint32_t domain,
				   struct ulp_withdrawal *withdrawal, char *detail)
{
	*withdrawal = (struct ulp_withdrawal){.patches = 0};
	for (uint32_t i = 0; i < taken->request->replaced_count; i++) {
		uint32_t patch = ulp_state_find_patch(taken->replaced[i]);

		/* Somebody may have taken it back since the core looked. */
		if (patch == ULP_NONE || ulp_state.patches[patch].status != ULP_PATCH_APPLIED ||
		    patch == ulp_state_find_patch(taken->request->patch_id))
			continue;
		if (ulp_state.patches[patch].domain != domain) {
			ulp_format(detail, ULP_DETAIL_SIZE, "%s", ulp_state.patches[patch].name);
			return ULP_DOMAINS_DIFFER;
		}
		ulp_withdrawal_add(withdrawal, patch);
	}
	return ULP_OK;
}

void ulp_withdrawal_add(struct ulp_withdrawal *withdrawal, uint32_t patch)
{
	withdrawal->patches += !withdrawal->of[patch];
	withdrawal->of[patch] = true;
}

/* The newest version of those that are taken back, or of the others; NULL: there is none. */
static struct ulp_version *newest(const struct ulp_function *function,
				  const struct ulp_withdrawal *withdrawal, bool taken_back)
{
	struct ulp_version *version = function->versions;

	while (version && withdrawal->of[version->patch] != taken_back)
		version = version->older;
	return version;
}

static bool count_function(struct ulp_function *function, void *argument)
{
	struct ulp_withdrawal *withdrawal = argument;

	withdrawal->functions += newest(function, withdrawal, true) != NULL;
	return true;
}

void ulp_withdrawal_count(struct ulp_withdrawal *withdrawal)
{
	withdrawal->functions = 0;
	if (withdrawal->patches)
		ulp_function_each(count_function, withdrawal);
}

struct writing {
	const struct ulp_withdrawal *withdrawal;
	const struct ulp_text *text;
	uint64_t universe;
	struct ulp_pending *pending;
	uint32_t replaced; /* of `pending`, those that the request itself replaces */
	uint32_t count;
	enum ulp_error error;
};

static bool is_replaced(const struct writing *writing, const struct ulp_function *function)
{
	for (uint32_t i = 0; i < writing->replaced; i++)
		if (writing->pending[i].function == function)
			return true;
	return false;
}

static bool write_kept(struct ulp_function *function, void *argument)
{
	struct writing *writing = argument;
	const struct ulp_version *kept;
	struct ulp_pending *next;

	/* What a newer patch covers stays covered. */
	if (!function->versions || !writing->withdrawal->of[function->versions->patch] ||
	    is_replaced(writing, function))
		return true;
	kept = newest(function, writing->withdrawal, false);
	next = &writing->pending[writing->count++];
	next->function = function;
	next->stub =
		ulp_stub_write(writing->text, function, writing->universe,
			       kept ? kept->target : ulp_site_of(function)->old_version(function));
	if (!next->stub)
		writing->error = ULP_TEXT_UNWRITABLE;
	return !writing->error;
}

enum ulp_error ulp_withdrawal_write(const struct ulp_withdrawal *withdrawal,
				    const struct ulp_text *text, uint64_t universe,
				    struct ulp_pending *pending, uint32_t *count)
{
	struct writing writing = {withdrawal, text, universe, pending, *count, *count, ULP_OK};

	if (withdrawal->patches)
		ulp_function_each(write_kept, &writing);
	*count = writing.count;
	return writing.error;
}

static bool drop_versions(struct ulp_function *function, void *argument)
{
	const struct ulp_withdrawal *withdrawal = argument;
	struct ulp_version **link = &function->versions;

	while (*link) {
		struct ulp_version *version = *link;

		if (withdrawal->of[version->patch]) {
			*link = version->older;
			free(version);
		} else {
			link = &version->older;
		}
	}
	return true;
}

void ulp_withdrawal_finish(const struct ulp_withdrawal *withdrawal)
{
	if (withdrawal->patches)
		ulp_function_each(drop_versions, (void *)withdrawal);
}
