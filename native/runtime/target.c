/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "runtime/bodies.h"
#include "runtime/format.h"
#include "runtime/loader.h"
#include "runtime/request.h"
#include "runtime/state.h"
#include "runtime/target.h"
#include "runtime/universe.h"

/* trm.o's descriptor, and the function that it leads to, are the library's own. */
static bool trm_inside(const struct ulp_object *object, uint64_t address)
{
	const struct ulp_trm *trm = (const struct ulp_trm *)address;
	uint64_t function;

	if (!address)
		return true;
	if (address < object->read_start || address + sizeof *trm > object->read_end ||
	    address % 8 != 0)
		return false;
	function = (uint64_t)&trm->locate + (uint64_t)trm->locate;
	return trm->version != 1 || (function >= object->text_start && function < object->text_end);
}

/* One patch library cannot refer to what is in two. */
static bool in_one_namespace(const struct ulp_taken *taken, char *detail)
{
	uint32_t count = taken->request->library_count;
	Lmid_t first = LM_ID_BASE;

	for (uint32_t i = 0; count > 1 && i < count; i++) {
		Lmid_t space = ulp_loader_namespace(taken->libraries[i].said->base);

		if (i == 0)
			first = space;
		if (space == LM_ID_NEWLM) {
			ulp_format(detail, ULP_DETAIL_SIZE, "%s", taken->libraries[i].name);
			return false;
		}
		if (space != first) {
			ulp_format(detail, ULP_DETAIL_SIZE,
				   "%s, which dlmopen() has kept apart from %s",
				   taken->libraries[i].name, taken->libraries[0].name);
			return false;
		}
	}
	return true;
}

enum ulp_error ulp_targets_verify(const struct ulp_taken *taken, uint32_t *domain, char *detail)
{
	uint32_t added = 0;

	*domain = ULP_NONE;
	for (uint32_t i = 0; i < taken->request->library_count; i++) {
		const struct ulp_request_library *wanted = taken->libraries[i].said;
		uint32_t known = ulp_state_find_library(wanted->base);
		struct ulp_object object;
		enum ulp_error error = ULP_OK;

		if (known == ULP_NONE) {
			error = ulp_loader_hold(wanted->base, &object);
			if (!error && !trm_inside(&object, wanted->trm))
				error = ULP_BAD_REQUEST;
			if (!error && (!ulp_object_has_build_id(&object, wanted->build_id,
								wanted->build_id_size) ||
				       object.text_start != wanted->text_start ||
				       object.text_end != wanted->text_end))
				error = ULP_LIBRARY_CHANGED;
			added++;
		} else {
			const struct ulp_library *library = &ulp_state.libraries[known];

			if (library->text_start != wanted->text_start ||
			    library->text_end != wanted->text_end ||
			    library->flags != wanted->flags ||
			    library->build_id_size != wanted->build_id_size ||
			    memcmp(library->build_id, wanted->build_id, library->build_id_size) !=
				    0)
				error = ULP_LIBRARY_CHANGED;
			else if (*domain != ULP_NONE && *domain != library->domain)
				error = ULP_DOMAINS_DIFFER;
			*domain = library->domain;
		}
		if (error) {
			ulp_format(detail, ULP_DETAIL_SIZE, "%s", taken->libraries[i].name);
			return error;
		}
	}
	if (!in_one_namespace(taken, detail))
		return ULP_LIBRARY_CHANGED;
	if (ulp_state.library_count + added > ULP_LIBRARIES ||
	    (*domain == ULP_NONE && ulp_state.domain_count == ULP_DOMAINS)) {
		ulp_format(detail, ULP_DETAIL_SIZE, "more than %d patched libraries",
			   ULP_LIBRARIES);
		return ULP_FULL;
	}
	return ULP_OK;
}

static uint32_t add_domain(const struct ulp_request_library *first)
{
	uint32_t index = ulp_state.domain_count;
	struct ulp_domain *domain = &ulp_state.domains[index];
	const struct ulp_trm *trm = (const struct ulp_trm *)first->trm;

	if (trm && trm->version == 1) {
		int64_t (*tls_offset)(void) =
			(int64_t(*)(void))((uint64_t)&trm->locate + (uint64_t)trm->locate);

		domain->tls_offset = tls_offset();
		domain->flags = ULP_DOMAIN_TLS_OF_LIBRARY;
	} else {
		domain->tls_offset = ulp_universe_own_slot(index);
	}
	ulp_state.domain_count = index + 1;
	return index;
}

static bool add_library(const struct ulp_taken_library *taken, uint32_t domain)
{
	const struct ulp_request_library *wanted = taken->said;
	struct ulp_library *library = &ulp_state.libraries[ulp_state.library_count];

	library->base = wanted->base;
	library->text_start = wanted->text_start;
	library->text_end = wanted->text_end;
	library->resolver = ulp_loader_resolver(wanted->text_start);
	library->domain = domain;
	library->flags = wanted->flags;
	library->build_id_size = wanted->build_id_size;
	memcpy(library->build_id, wanted->build_id, sizeof library->build_id);
	ulp_format(library->name, sizeof library->name, "%s", taken->name);
	if (!ulp_universe_add_library(domain, library))
		return false;
	ulp_state.domains[domain].library_count++;
	ulp_state.library_count++;
	return true;
}

static bool add_bodies(const struct ulp_taken_library *taken)
{
	struct ulp_library *program =
		&ulp_state.libraries[ulp_state_find_library(taken->said->base)];
	bool more = false;

	if (!ulp_bodies_add(program, taken->bodies, taken->said->body_count, &more))
		return false;
	if (more)
		ulp_universe_grow(program->domain);
	return true;
}

enum ulp_error ulp_targets_add(const struct ulp_taken *taken, uint32_t *domain)
{
	uint32_t count = taken->request->library_count;
	bool added = true, enough_memory = true;

	ulp_state_begin_change();
	if (*domain == ULP_NONE)
		*domain = add_domain(taken->libraries[0].said);
	for (uint32_t i = 0; added && i < count; i++)
		if (ulp_state_find_library(taken->libraries[i].said->base) == ULP_NONE)
			added = add_library(&taken->libraries[i], *domain);
	for (uint32_t i = 0; added && enough_memory && i < count; i++)
		enough_memory = add_bodies(&taken->libraries[i]);
	ulp_state_end_change();
	if (!enough_memory)
		return ULP_NO_MEMORY;
	return added ? ULP_OK : ULP_FULL;
}
