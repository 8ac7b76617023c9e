/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "runtime/apply.h"
#include "runtime/binding.h"
#include "runtime/fork.h"
#include "runtime/format.h"
#include "runtime/function.h"
#include "runtime/hook.h"
#include "runtime/loader.h"
#include "runtime/publish.h"
#include "runtime/rehook.h"
#include "runtime/request.h"
#include "runtime/revert.h"
#include "runtime/settle.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/target.h"
#include "runtime/text.h"
#include "runtime/universe.h"

/* Load biases, of which the state block shows only the text they lead to. */
static uint64_t patch_base[ULP_PATCHES];

static bool replacements_inside(const struct ulp_taken *taken, const struct ulp_object *object)
{
	for (uint32_t i = 0; i < taken->request->library_count; i++) {
		const struct ulp_taken_library *library = &taken->libraries[i];

		for (uint32_t k = 0; k < library->said->replacement_count; k++) {
			uint64_t address = object->base + library->replacements[k].replacement;

			if (address < object->text_start || address >= object->text_end)
				return false;
		}
	}
	return true;
}

/* The patch library, loaded now or by an earlier apply of the same patch. */
static enum ulp_error load_patch(const struct ulp_taken *taken, uint32_t patch,
				 struct ulp_object *object, char *detail)
{
	enum ulp_error error;

	if (patch != ULP_NONE) {
		/* It is never unloaded. */
		if (!ulp_loader_find(patch_base[patch], object))
			return ULP_PATCH_MISMATCH;
	} else {
		error = ulp_loader_load(taken->patch_path, taken->libraries[0].said->base, object,
					detail);
		if (error)
			return error;
		if (!ulp_object_has_build_id(object, taken->request->patch_build_id,
					     taken->request->patch_build_id_size)) {
			ulp_format(detail, ULP_DETAIL_SIZE, "%s", taken->patch_path);
			return ULP_PATCH_MISMATCH;
		}
	}
	return replacements_inside(taken, object) ? ULP_OK : ULP_BAD_REQUEST;
}

static uint32_t show_patch(const struct ulp_taken *taken, uint32_t patch, uint32_t domain,
			   const struct ulp_object *object)
{
	struct ulp_patch *shown;

	if (patch == ULP_NONE)
		patch = ulp_state.patch_count;
	shown = &ulp_state.patches[patch];
	memcpy(shown->id, taken->request->patch_id, sizeof shown->id);
	shown->text_start = object->text_start;
	shown->text_end = object->text_end;
	shown->domain = domain;
	ulp_format(shown->name, sizeof shown->name, "%s", taken->patch_name);
	patch_base[patch] = object->base;
	return patch;
}

/* Returns false if there is no memory; whoever has asked gives back what is in `pending`. */
static bool write_replacement(const struct ulp_text *text, uint64_t universe, uint32_t patch,
			      uint64_t target, struct ulp_function *function,
			      struct ulp_pending *pending)
{
	pending->function = function;
	pending->version = malloc(sizeof *pending->version);
	if (!pending->version)
		return false;
	pending->version->patch = patch;
	pending->version->target = target;
	/* Other stubs could be written before. */
	pending->stub = ulp_stub_write(text, function, universe, target);
	return pending->stub;
}

static enum ulp_error write_replacements(const struct ulp_text *text, const struct ulp_taken *taken,
					 uint32_t patch, uint64_t universe,
					 struct ulp_pending *pending, uint32_t *count)
{
	for (uint32_t i = 0; i < taken->request->library_count; i++) {
		const struct ulp_taken_library *library = &taken->libraries[i];
		const struct ulp_request_replacement *replacement = library->replacements;

		for (uint32_t k = 0; k < library->said->replacement_count; k++) {
			struct ulp_function *function =
				ulp_function_find(library->said->base + replacement[k].function);

			if (!function || !(function->hooked & ULP_SITE_ENTRY))
				return ULP_BAD_REQUEST;
			if (!write_replacement(text, universe, patch,
					       patch_base[patch] + replacement[k].replacement,
					       function, &pending[(*count)++]))
				return ULP_NO_MEMORY;
		}
	}
	return ULP_OK;
}

static uint32_t count_replacements(const struct ulp_taken *taken)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < taken->request->library_count; i++)
		count += taken->libraries[i].said->replacement_count;
	return count;
}

static enum ulp_error replace(const struct ulp_text *text, const struct ulp_taken *taken,
			      uint32_t patch, const struct ulp_withdrawal *withdrawal)
{
	uint32_t domain = ulp_state.patches[patch].domain, replaced = 0, count;
	uint64_t universe = ulp_state.domains[domain].universe + 1;
	struct ulp_pending *pending =
		calloc(count_replacements(taken) + withdrawal->functions + 1, sizeof *pending);
	enum ulp_error error;

	if (!pending)
		return ULP_NO_MEMORY;
	error = universe > INT32_MAX
			? ULP_FULL
			: write_replacements(text, taken, patch, universe, pending, &replaced);
	count = replaced;
	if (!error)
		error = ulp_withdrawal_write(withdrawal, text, universe, pending, &count);
	if (!error && !ulp_text_barrier())
		error = ULP_NO_BARRIER;
	if (error) {
		ulp_pending_discard(pending, count);
		for (uint32_t i = 0; i < replaced; i++)
			free(pending[i].version);
		free(pending);
		return error;
	}
	ulp_pending_put_in_place(pending, count);
	for (uint32_t i = 0; i < replaced; i++) {
		pending[i].version->older = pending[i].function->versions;
		pending[i].function->versions = pending[i].version;
	}
	ulp_state.patches[patch].functions = replaced;
	ulp_publish(domain, patch, withdrawal->of);
	ulp_withdrawal_finish(withdrawal);
	free(pending);
	return ULP_OK;
}

/* The hooks of the domain, if there are any yet, are, or are again, as they were left. */
static enum ulp_error require_hooks(const struct ulp_text *text, uint32_t domain, char *detail)
{
	bool undone;
	enum ulp_error error = ulp_hooks_examine(domain, &undone, detail);

	return error || !undone ? error : ulp_hooks_put_back(text, domain, detail);
}

/* To apply what is applied is to put back hooks that something else has undone. */
static enum ulp_error hook_again(uint32_t patch, uint64_t *universe, char *detail)
{
	uint32_t domain = ulp_state.patches[patch].domain;
	struct ulp_text text;
	bool undone;
	enum ulp_error error = ulp_hooks_examine(domain, &undone, detail);

	if (!error && !undone)
		return ULP_ALREADY_APPLIED;
	if (!error)
		error = ulp_text_open(&text);
	if (error)
		return error;
	error = ulp_hooks_put_back(&text, domain, detail);
	*universe = ulp_state.domains[domain].universe;
	ulp_text_close(&text);
	return error;
}

/* What is applied already, but others still are in whose place it should be. */
static enum ulp_error apply_again(const struct ulp_taken *taken, uint32_t patch, uint64_t *universe,
				  char *detail)
{
	uint32_t domain = ulp_state.patches[patch].domain;
	struct ulp_withdrawal withdrawal;
	enum ulp_error error = ulp_withdrawal_read(taken, domain, &withdrawal, detail);

	if (error)
		return error;
	ulp_fork_beyond_loader();
	error = hook_again(patch, universe, detail);
	if (!withdrawal.patches || (error && error != ULP_ALREADY_APPLIED))
		return error;
	return ulp_revert_all(taken->request, &withdrawal, domain, patch, universe, detail);
}

enum ulp_error ulp_apply(const struct ulp_taken *taken, uint64_t *universe, char *detail)
{
	uint32_t patch = ulp_state_find_patch(taken->request->patch_id);
	struct ulp_withdrawal withdrawal;
	struct ulp_object object;
	struct ulp_text text;
	uint32_t domain;
	bool undone;
	enum ulp_error error;

	if (patch != ULP_NONE && ulp_state.patches[patch].status == ULP_PATCH_APPLIED)
		return apply_again(taken, patch, universe, detail);
	if (patch == ULP_NONE && ulp_state.patch_count == ULP_PATCHES) {
		ulp_format(detail, ULP_DETAIL_SIZE, "more than %d patches", ULP_PATCHES);
		return ULP_FULL;
	}
	error = ulp_text_open(&text);
	if (!error)
		error = ulp_targets_verify(taken, &domain, detail);
	if (!error)
		error = ulp_withdrawal_read(taken, domain, &withdrawal, detail);
	if (!error)
		error = ulp_hooks_examine(domain, &undone, detail);
	if (!error)
		error = load_patch(taken, patch, &object, detail);
	if (!error)
		error = ulp_bindings_fill(taken, &object, detail);
	if (!error)
		error = ulp_targets_add(taken, &domain);
	ulp_fork_beyond_loader();
	if (!error)
		ulp_settle_domain(domain, taken->request);
	if (!error && !ulp_universe_add_patch(domain, object.text_start, object.text_end))
		error = ULP_FULL;
	if (!error)
		error = require_hooks(&text, domain, detail);
	if (!error)
		error = ulp_hook_libraries(&text, taken, detail);
	if (!error)
		error = ulp_hooks_examine(domain, &undone, detail);
	if (!error && undone)
		error = ULP_UNEXPECTED_CODE;
	if (!error) {
		patch = show_patch(taken, patch, domain, &object);
		ulp_withdrawal_count(&withdrawal);
		error = replace(&text, taken, patch, &withdrawal);
	}
	if (!error)
		*universe = ulp_state.patches[patch].applied_universe;
	ulp_text_close(&text);
	return error;
}
