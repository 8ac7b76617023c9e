/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "arch.h"
#include "runtime/checksum.h"
#include "runtime/request.h"
#include "runtime/state.h"

static const void *at(const struct ulp_request *request, uint32_t offset)
{
	return (const char *)request + offset;
}

static const struct ulp_request_library *libraries_of(const struct ulp_request *request)
{
	return at(request, request->libraries);
}

static bool table_inside(const struct ulp_request *request, uint32_t offset, uint64_t count,
			 size_t element)
{
	return offset % 4 == 0 && offset >= sizeof *request && offset <= request->size &&
	       count <= (request->size - offset) / element;
}

static bool string_inside(const struct ulp_request *request, uint32_t offset)
{
	return offset >= sizeof *request && offset < request->size &&
	       memchr(at(request, offset), 0, request->size - offset) != NULL;
}

/* They are ascending, and in the text; who has none has nothing to be inside of. */
static bool bodies_inside(const struct ulp_request *request,
			  const struct ulp_request_library *library)
{
	const struct ulp_body *body = at(request, library->bodies);
	uint64_t end = library->text_start - library->base;

	if (!(library->flags & ULP_LIBRARY_BY_BODIES))
		return library->body_count == 0;
	if (library->bodies % 8 != 0 || library->body_count == 0 ||
	    !table_inside(request, library->bodies, library->body_count, sizeof *body))
		return false;
	for (uint32_t i = 0; i < library->body_count; i++) {
		if (body[i].start < end || body[i].end <= body[i].start)
			return false;
		end = body[i].end;
	}
	return end <= library->text_end - library->base;
}

static bool bindings_inside(const struct ulp_request *request,
			    const struct ulp_request_library *library)
{
	const struct ulp_request_binding *binding = at(request, library->bindings);

	if (library->binding_count == 0)
		return true;
	if (library->bindings % 8 != 0 ||
	    !table_inside(request, library->bindings, library->binding_count, sizeof *binding))
		return false;
	for (uint32_t i = 0; i < library->binding_count; i++)
		if (binding[i].kind < ULP_BIND_ADDRESS || binding[i].kind > ULP_BIND_TLS_WORDS ||
		    binding[i].slot % 8 != 0 || !string_inside(request, binding[i].name) ||
		    !string_inside(request, binding[i].version))
			return false;
	return true;
}

/* What is written at the site: one jump, or a short one to a gap and another one there. */
static bool jump_inside(const struct ulp_request_pun *pun, uint64_t start, uint64_t end)
{
	if (pun->written < 1 || pun->written > pun->length ||
	    !ulp_code_pun_jumps(pun->code, pun->gap ? (int64_t)pun->gap - pun->site : 0))
		return false;
	if (!pun->gap)
		return pun->written <= ULP_JUMP_SIZE &&
		       pun->site + ULP_JUMP_SIZE <= (uint64_t)pun->function + pun->size;
	return pun->written == ULP_SHORT_JUMP_SIZE && pun->gap >= start &&
	       pun->gap + (uint64_t)ULP_JUMP_SIZE <= end;
}

/* A pun and its function, which ends where the text does at the latest; what is moved fits into a cell. */
static bool pun_inside(const struct ulp_request_pun *pun, uint64_t start, uint64_t end)
{
	uint64_t function_end = (uint64_t)pun->function + pun->size;
	unsigned moved = pun->instruction == ULP_PUN_RELATIVE ? 4 : 0;

	if (pun->instruction == ULP_PUN_JUMP)
		moved = pun->length == 2 ? 1 : 4;
	return pun->function >= start && function_end <= end && pun->site >= pun->function &&
	       pun->site - pun->function <= ULP_LONGEST_WAY_IN && pun->length >= 1 &&
	       pun->length <= ULP_LONGEST_INSTRUCTION && pun->site + pun->length <= function_end &&
	       pun->instruction <= ULP_PUN_JUMP && pun->displacement + moved <= pun->length &&
	       jump_inside(pun, start, end);
}

/* Ascending by function, and each of a site that wants them. */
static bool puns_inside(const struct ulp_request *request,
			const struct ulp_request_library *library)
{
	const struct ulp_request_pun *pun = at(request, library->puns);

	if (!(library->flags & ULP_LIBRARY_STOCK))
		return library->pun_count == 0;
	if (!table_inside(request, library->puns, library->pun_count, sizeof *pun))
		return false;
	for (uint32_t i = 0; i < library->pun_count; i++)
		if ((i > 0 && pun[i].function < pun[i - 1].function) ||
		    !pun_inside(&pun[i], library->text_start - library->base,
				library->text_end - library->base))
			return false;
	return true;
}

/*
 * A stock library's functions have no padding; others have.  The text may end a single ret behind it:
 * mold places .text last.
 */
static bool site_inside(const struct ulp_request_library *library,
			const struct ulp_request_site *site)
{
	uint64_t address = library->base + site->function;
	uint64_t entry = address + (site->flags & ULP_SITE_ENDBR ? ULP_ENDBR_SIZE : 0);

	if (library->flags & ULP_LIBRARY_STOCK)
		return (site->flags & (ULP_SITE_PUN | ULP_SITE_HOPS)) ==
			       (ULP_SITE_PUN | ULP_SITE_ENTRY) &&
		       address >= library->text_start && address < library->text_end;
	return !(site->flags & ULP_SITE_PUN) && site->flags & ULP_SITE_HOPS &&
	       address >= library->text_start + ULP_PAD_BEFORE &&
	       entry + ULP_PAD_ENTRY <= library->text_end;
}

static bool library_inside(const struct ulp_request *request,
			   const struct ulp_request_library *library)
{
	if (library->build_id_size == 0 || library->build_id_size > ULP_BUILD_ID_SIZE ||
	    library->text_start >= library->text_end || !string_inside(request, library->name) ||
	    !table_inside(request, library->sites, library->site_count,
			  sizeof(struct ulp_request_site)) ||
	    library->replacements % 8 != 0 ||
	    !table_inside(request, library->replacements, library->replacement_count,
			  sizeof(struct ulp_request_replacement)) ||
	    !puns_inside(request, library) || !bodies_inside(request, library) ||
	    !bindings_inside(request, library))
		return false;
	const struct ulp_request_site *site = at(request, library->sites);

	/* Ascending, and in the library's text: what comes behind searches and writes there. */
	for (uint32_t i = 0; i < library->site_count; i++)
		if ((i > 0 && site[i].function <= site[i - 1].function) ||
		    !site_inside(library, &site[i]))
			return false;
	const struct ulp_request_replacement *replacement = at(request, library->replacements);

	for (uint32_t i = 1; i < library->replacement_count; i++)
		if (replacement[i].function <= replacement[i - 1].function)
			return false;
	return true;
}

static bool exceptions_inside(const struct ulp_request *request)
{
	if (request->excepted_count == 0)
		return true;
	return request->operation == ULP_SETTLE && request->excepted_count <= ULP_EXCEPTED &&
	       table_inside(request, request->excepted, request->excepted_count, sizeof(uint32_t));
}

static bool replaced_inside(const struct ulp_request *request)
{
	return request->replaced_count == 0 ||
	       (request->operation != ULP_SETTLE &&
		table_inside(request, request->replaced, request->replaced_count,
			     ULP_PATCH_ID_SIZE));
}

static bool well_formed(const struct ulp_request *request)
{
	if (request->magic != ULP_REQUEST_MAGIC || request->abi_version != ULP_ABI_VERSION ||
	    request->operation < ULP_APPLY || request->operation > ULP_SETTLE ||
	    request->patch_build_id_size > ULP_BUILD_ID_SIZE || request->libraries % 8 != 0 ||
	    !string_inside(request, request->patch_path) ||
	    !string_inside(request, request->patch_name) || !exceptions_inside(request) ||
	    !replaced_inside(request) ||
	    !table_inside(request, request->libraries, request->library_count,
			  sizeof(struct ulp_request_library)))
		return false;
	for (uint32_t i = 0; i < request->library_count; i++) {
		const struct ulp_request_library *library = &libraries_of(request)[i];

		if (!library_inside(request, library))
			return false;
		for (uint32_t k = 0; k < i; k++)
			if (libraries_of(request)[k].base == library->base)
				return false;
	}
	return request->operation != ULP_APPLY || request->library_count > 0;
}

/* What every offset of a well-formed request leads to. */
static struct ulp_taken *resolved(const struct ulp_request *request)
{
	const struct ulp_request_library *libraries = libraries_of(request);
	struct ulp_taken *taken =
		malloc(sizeof *taken + request->library_count * sizeof taken->libraries[0]);

	if (!taken)
		return NULL;
	*taken = (struct ulp_taken){
		.request = request,
		.patch_path = at(request, request->patch_path),
		.patch_name = at(request, request->patch_name),
		.replaced = at(request, request->replaced),
		.excepted = at(request, request->excepted),
	};
	for (uint32_t i = 0; i < request->library_count; i++)
		taken->libraries[i] = (struct ulp_taken_library){
			.said = &libraries[i],
			.name = at(request, libraries[i].name),
			.sites = at(request, libraries[i].sites),
			.replacements = at(request, libraries[i].replacements),
			.puns = at(request, libraries[i].puns),
			.bodies = at(request, libraries[i].bodies),
			.bindings = at(request, libraries[i].bindings),
		};
	return taken;
}

static enum ulp_error check(const struct ulp_request *request, uint32_t size, uint64_t nonce)
{
	if (request->size != size || request->nonce != nonce ||
	    request->checksum != ulp_checksum(request + 1, size - sizeof *request))
		return ULP_STALE_REQUEST;
	if (well_formed(request))
		return ULP_OK;
	return request->abi_version == ULP_ABI_VERSION ? ULP_BAD_REQUEST : ULP_BAD_VERSION;
}

enum ulp_error ulp_request_take(uint64_t nonce, struct ulp_taken **taken)
{
	const struct ulp_request *offered = (const struct ulp_request *)ulp_request_buffer;
	uint32_t size = __atomic_load_n(&offered->size, __ATOMIC_ACQUIRE);
	struct ulp_request *request;
	enum ulp_error error;

	if (size < sizeof *request || size > ULP_REQUEST_CAPACITY)
		return ULP_STALE_REQUEST;
	request = malloc(size);
	if (!request)
		return ULP_NO_MEMORY;
	memcpy(request, ulp_request_buffer, size);
	error = check(request, size, nonce);
	if (!error) {
		*taken = resolved(request);
		error = *taken ? ULP_OK : ULP_NO_MEMORY;
	}
	if (error)
		free(request);
	return error;
}

void ulp_request_discard(struct ulp_taken *taken)
{
	free((void *)taken->request);
	free(taken);
}

const char *ulp_request_string(const struct ulp_taken *taken, uint32_t offset)
{
	return at(taken->request, offset);
}
