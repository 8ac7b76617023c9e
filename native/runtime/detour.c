/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "arch/x86_64/arch.h"
#include "runtime/bodies.h"
#include "runtime/detour.h"
#include "runtime/function.h"
#include "runtime/loader.h"
#include "runtime/request.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/text.h"
#include "runtime/universe.h"

#define NONE UINT32_MAX

/* Load biases, of which the state block shows only the text they lead to. */
static uint64_t patch_base[ULP_PATCHES];

static bool endbr(const struct ulp_function *function)
{
	return function->flags & ULP_SITE_ENDBR;
}

/* ------------------------------------------------------------------ slots */

/* A slot must be within a signed 32-bit distance of all the text that jumps through it. */
#define REACH      0x7fff0000ull
#define SMALL_GAP  (64ull << 10)
#define LARGE_GAP  (1ull << 20)
#define SMALL_GAPS 1024

static bool in_reach(const struct ulp_library *library, uint64_t start, uint64_t size)
{
	uint64_t low = start < library->text_start ? start : library->text_start;
	uint64_t high = start + size > library->text_end ? start + size : library->text_end;

	return high - low < REACH;
}

static void *map_at(uint64_t hint, size_t size, int flags)
{
	void *memory = mmap((void *)hint, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Nothing is ever placed below, whatever vm.mmap_min_addr says. */
#define LOWEST (1ull << 20)

/* The first free place from `start` on, `downwards` or upwards, that is within reach. */
static void *map_within_reach(const struct ulp_library *library, uint64_t start, size_t size,
			      bool downwards)
{
	uint64_t place = start;

	for (unsigned gap = 0; place > LOWEST && in_reach(library, place, size); gap++) {
		uint64_t step = gap < SMALL_GAPS ? SMALL_GAP : LARGE_GAP;
		void *memory = map_at(place, size, MAP_FIXED_NOREPLACE);

		if (memory == (void *)place)
			return memory;
		if (memory)
			munmap(memory, size);
		if (downwards && place < step)
			break;
		place = downwards ? place - step : place + step;
	}
	return NULL;
}

/* Memory for `count` slots near the library; the kernel's own choice is the first guess. */
static uint64_t *map_slots(const struct ulp_library *library, uint32_t count)
{
	size_t size = ((size_t)count * sizeof(uint64_t) + 4095) & ~(size_t)4095;
	void *memory = map_at(0, size, 0);

	if (!memory)
		return NULL;
	if (in_reach(library, (uint64_t)memory, size))
		return memory;
	munmap(memory, size);
	memory = map_within_reach(library, (library->text_start & ~4095ull) - size, size, true);
	if (!memory)
		memory = map_within_reach(library, (library->text_end + 4095) & ~4095ull, size,
					  false);
	return memory;
}

/* ------------------------------------------------------------------ hooks */

/* The functions of one library that are to be hooked by this request. */
struct hooks {
	struct ulp_function **function;
	uint32_t
		*missing; /* of ULP_SITE_ENTRY | ULP_SITE_TRAMPOLINE, what is not switched on yet */
	uint32_t count;
	struct ulp_function *created; /* those that are new, ascending */
	uint32_t created_count;
	uint64_t *slots;
};

static void forget(struct hooks *hooks)
{
	free(hooks->function);
	free(hooks->missing);
	*hooks = (struct hooks){.count = 0};
}

static enum ulp_error unexpected(uint64_t address, const struct ulp_library *library, char *detail)
{
	snprintf(detail, ULP_DETAIL_SIZE, "function at 0x%llx of %s",
		 (unsigned long long)(address - library->base), library->name);
	return ULP_UNEXPECTED_CODE;
}

/* Looks at everything, and changes nothing that anybody could notice. */
static enum ulp_error plan_hooks(const struct ulp_request *request,
				 const struct ulp_request_library *wanted, uint32_t library_index,
				 struct hooks *hooks, char *detail)
{
	const struct ulp_library *library = &ulp_state.libraries[library_index];
	const struct ulp_request_site *sites = ulp_request_sites(request, wanted);

	hooks->function = calloc(wanted->site_count + 1, sizeof *hooks->function);
	hooks->missing = calloc(wanted->site_count + 1, sizeof *hooks->missing);
	hooks->created = ulp_function_reserve(wanted->site_count + 1);
	if (!hooks->function || !hooks->missing || !hooks->created)
		return ULP_NO_MEMORY;

	for (uint32_t i = 0; i < wanted->site_count; i++) {
		const struct ulp_request_site *site = &sites[i];
		uint64_t address = library->base + site->function;
		struct ulp_function *function = ulp_function_find(address);
		uint32_t kinds = site->flags & (ULP_SITE_ENTRY | ULP_SITE_TRAMPOLINE);

		if (!function) {
			if (!ulp_code_hookable(address, site->flags & ULP_SITE_ENDBR,
					       site->flags & ULP_SITE_TRAMPOLINE))
				return unexpected(address, library, detail);
			function = &hooks->created[hooks->created_count++];
			function->address = address;
			function->library = library_index;
			function->domain = library->domain;
			function->flags = site->flags;
		} else {
			__atomic_or_fetch(&function->flags,
					  site->flags & (ULP_SITE_TAIL | ULP_SITE_CYCLE),
					  __ATOMIC_RELAXED);
		}
		if (site->flags & ULP_SITE_JUMPED && !function->jumped_since)
			__atomic_store_n(&function->jumped_since,
					 ulp_state.domains[library->domain].universe + 1,
					 __ATOMIC_RELAXED);
		kinds &= ~function->hooked;
		if (kinds || !function->stubs) {
			hooks->function[hooks->count] = function;
			hooks->missing[hooks->count++] = kinds;
		}
	}
	if (!ulp_stubs_left(hooks->created_count + wanted->replacement_count)) {
		snprintf(detail, ULP_DETAIL_SIZE, "no room for %u stubs",
			 hooks->created_count + wanted->replacement_count);
		return ULP_FULL;
	}
	return ULP_OK;
}

/* Writing what stands there already tells whether writing is possible at all. */
static bool writable(const struct ulp_text *text, uint64_t address)
{
	unsigned char byte = *(const unsigned char *)address;

	return ulp_text_write(text, address, &byte, 1);
}

static bool write_patch(const struct ulp_text *text, const struct ulp_code_patch *patch)
{
	return ulp_text_write(text, patch->address, patch->bytes, patch->size);
}

/* Stub, slot and the jump through it, all of it still dead code. */
static enum ulp_error write_created(const struct ulp_text *text, struct hooks *hooks)
{
	for (uint32_t i = 0; i < hooks->created_count; i++) {
		struct ulp_function *function = &hooks->created[i];
		struct ulp_stub_record *stub = ulp_stub_write(text, function, 0, 0);
		struct ulp_code_patch jump[2];
		unsigned count;

		if (!stub)
			return ULP_TEXT_UNWRITABLE;
		function->slot = &hooks->slots[i];
		ulp_stub_put_in_place(function, stub);
		if (!ulp_code_slot_jump(function->address, endbr(function),
					(uint64_t)function->slot, jump, &count))
			return ULP_NO_MEMORY;
		for (unsigned k = 0; k < count; k++)
			if (!write_patch(text, &jump[k]))
				return ULP_TEXT_UNWRITABLE;
	}
	return ULP_OK;
}

/* The first byte of each entry hop is written a barrier before the second: see arch.h. */
static enum ulp_error switch_on(const struct ulp_text *text, struct hooks *hooks)
{
	for (unsigned byte = 0; byte < 2; byte++) {
		if (!ulp_text_barrier())
			return ULP_NO_BARRIER;
		for (uint32_t i = 0; i < hooks->count; i++) {
			struct ulp_function *function = hooks->function[i];
			struct ulp_code_patch hop[2];

			if (!(hooks->missing[i] & ULP_SITE_ENTRY))
				continue;
			ulp_code_entry_hop(function->address, endbr(function), hop);
			if (!write_patch(text, &hop[byte]))
				return ULP_TEXT_UNWRITABLE;
		}
	}
	for (uint32_t i = 0; i < hooks->count; i++) {
		struct ulp_function *function = hooks->function[i];
		struct ulp_code_patch hop;

		if (hooks->missing[i] & ULP_SITE_TRAMPOLINE) {
			ulp_code_trampoline_hop(function->address, endbr(function), &hop);
			if (!write_patch(text, &hop))
				return ULP_TEXT_UNWRITABLE;
		}
		function->hooked |= hooks->missing[i];
	}
	return ulp_text_barrier() ? ULP_OK : ULP_NO_BARRIER;
}

static enum ulp_error hook(const struct ulp_text *text, const struct ulp_library *library,
			   struct hooks *hooks, char *detail)
{
	enum ulp_error error;

	if (hooks->count == 0)
		return ULP_OK;
	if (!writable(text, hooks->function[0]->address) || !writable(text, ulp_state.stubs_start))
		return ULP_TEXT_UNWRITABLE;
	if (hooks->created_count) {
		hooks->slots = map_slots(library, hooks->created_count);
		if (!hooks->slots) {
			snprintf(detail, ULP_DETAIL_SIZE, "no memory within reach of %s",
				 library->name);
			return ULP_NO_MEMORY;
		}
		error = write_created(text, hooks);
		if (error)
			return error;
		/* From here on the functions stay: what is switched on is only added to. */
		if (!ulp_function_publish(hooks->created, hooks->created_count))
			return ULP_NO_MEMORY;
	}
	return switch_on(text, hooks);
}

/* --------------------------------------------------------- the state block */

static uint32_t find_patch(const uint8_t *id)
{
	for (uint32_t i = 0; i < ulp_state.patch_count; i++)
		if (memcmp(ulp_state.patches[i].id, id, ULP_PATCH_ID_SIZE) == 0)
			return i;
	return NONE;
}

static uint32_t find_library(uint64_t base)
{
	for (uint32_t i = 0; i < ulp_state.library_count; i++)
		if (ulp_state.libraries[i].base == base)
			return i;
	return NONE;
}

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

/* Every wanted library is what the core believes it to be, and is held. */
static enum ulp_error verify_libraries(const struct ulp_request *request, uint32_t *domain,
				       char *detail)
{
	const struct ulp_request_library *wanted = ulp_request_libraries(request);
	uint32_t added = 0;

	*domain = NONE;
	for (uint32_t i = 0; i < request->library_count; i++) {
		uint32_t known = find_library(wanted[i].base);
		struct ulp_object object;
		enum ulp_error error = ULP_OK;

		if (known == NONE) {
			error = ulp_loader_hold(wanted[i].base, &object);
			if (!error && !trm_inside(&object, wanted[i].trm))
				error = ULP_BAD_REQUEST;
			if (!error && (!ulp_object_has_build_id(&object, wanted[i].build_id,
								wanted[i].build_id_size) ||
				       object.text_start != wanted[i].text_start ||
				       object.text_end != wanted[i].text_end))
				error = ULP_LIBRARY_CHANGED;
			added++;
		} else {
			const struct ulp_library *library = &ulp_state.libraries[known];

			if (library->text_start != wanted[i].text_start ||
			    library->text_end != wanted[i].text_end ||
			    library->flags != wanted[i].flags ||
			    library->build_id_size != wanted[i].build_id_size ||
			    memcmp(library->build_id, wanted[i].build_id, library->build_id_size) !=
				    0)
				error = ULP_LIBRARY_CHANGED;
			else if (*domain != NONE && *domain != library->domain)
				error = ULP_DOMAINS_DIFFER;
			*domain = library->domain;
		}
		if (error) {
			snprintf(detail, ULP_DETAIL_SIZE, "%s",
				 ulp_request_string(request, wanted[i].name));
			return error;
		}
	}
	if (ulp_state.library_count + added > ULP_LIBRARIES ||
	    (*domain == NONE && ulp_state.domain_count == ULP_DOMAINS)) {
		snprintf(detail, ULP_DETAIL_SIZE, "more than %d patched libraries", ULP_LIBRARIES);
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

static bool add_library(const struct ulp_request *request, const struct ulp_request_library *wanted,
			uint32_t domain)
{
	struct ulp_library *library = &ulp_state.libraries[ulp_state.library_count];

	library->base = wanted->base;
	library->text_start = wanted->text_start;
	library->text_end = wanted->text_end;
	library->domain = domain;
	library->flags = wanted->flags;
	library->build_id_size = wanted->build_id_size;
	memcpy(library->build_id, wanted->build_id, sizeof library->build_id);
	strncpy(library->name, ulp_request_string(request, wanted->name), sizeof library->name - 1);
	if (!ulp_universe_add_library(domain, library))
		return false;
	ulp_state.domains[domain].library_count++;
	ulp_state.library_count++;
	return true;
}

static bool add_bodies(const struct ulp_request *request, const struct ulp_request_library *wanted)
{
	struct ulp_library *program = &ulp_state.libraries[find_library(wanted->base)];
	bool more = false;

	if (!ulp_bodies_add(program, ulp_request_bodies(request, wanted), wanted->body_count,
			    &more))
		return false;
	if (more)
		ulp_universe_grow(program->domain);
	return true;
}

static enum ulp_error add_missing(const struct ulp_request *request, uint32_t *domain)
{
	const struct ulp_request_library *wanted = ulp_request_libraries(request);
	bool added = true, enough_memory = true;

	ulp_state_begin_change();
	if (*domain == NONE)
		*domain = add_domain(&wanted[0]);
	for (uint32_t i = 0; added && i < request->library_count; i++)
		if (find_library(wanted[i].base) == NONE)
			added = add_library(request, &wanted[i], *domain);
	for (uint32_t i = 0; added && enough_memory && i < request->library_count; i++)
		enough_memory = add_bodies(request, &wanted[i]);
	ulp_state_end_change();
	if (!enough_memory)
		return ULP_NO_MEMORY;
	return added ? ULP_OK : ULP_FULL;
}

/* The one step that anybody sees. Returns the number that new entries take from now on. */
static void publish(uint32_t patch, enum ulp_patch_status status)
{
	struct ulp_patch *shown = &ulp_state.patches[patch];
	struct ulp_domain *domain = &ulp_state.domains[shown->domain];
	uint64_t universe = domain->universe + 1;

	ulp_state_begin_change();
	shown->status = (uint32_t)status;
	shown->loaded_ns = ulp_clock_ns(CLOCK_REALTIME);
	if (status == ULP_PATCH_APPLIED) {
		shown->applied_universe = universe;
		shown->reverted_universe = 0;
	} else {
		shown->reverted_universe = universe;
	}
	if (patch == ulp_state.patch_count)
		ulp_state.patch_count = patch + 1;
	__atomic_store_n(&domain->universe, universe, __ATOMIC_SEQ_CST);
	ulp_state_end_change();
}

/* The core has seen that no thread is left in versions older than `settled`, or keeps a number since. */
static void raise_floor(struct ulp_domain *domain, const struct ulp_request *request)
{
	if (request->settled > domain->universe || request->settled < domain->floor ||
	    request->settled_keeps != __atomic_load_n(&domain->keeps, __ATOMIC_SEQ_CST))
		return;
	ulp_state_begin_change();
	__atomic_store_n(&domain->floor_keeps, request->settled_keeps, __ATOMIC_SEQ_CST);
	__atomic_store_n(&domain->floor, request->settled, __ATOMIC_SEQ_CST);
	ulp_state_end_change();
}

/*
 * Nobody gives anything up before every thread is known to see the floor, or to have kept a
 * number since the core began to look: see the other side in universe.c.
 */
static void give_up_old_versions(uint32_t domain_index)
{
	const struct ulp_domain *domain = &ulp_state.domains[domain_index];

	if (domain->floor <= ulp_universe_given_up(domain_index) ||
	    domain->floor_keeps != __atomic_load_n(&domain->keeps, __ATOMIC_SEQ_CST))
		return;
	ulp_universe_give_up(domain_index, domain->floor);
	if (ulp_text_barrier() &&
	    domain->floor_keeps == __atomic_load_n(&domain->keeps, __ATOMIC_SEQ_CST))
		ulp_stubs_give_up(domain_index, domain->floor);
}

static void settle(uint32_t domain_index, const struct ulp_request *request)
{
	raise_floor(&ulp_state.domains[domain_index], request);
	give_up_old_versions(domain_index);
}

/* ------------------------------------------------------------------ apply */

static bool replacements_inside(const struct ulp_request *request, const struct ulp_object *object)
{
	for (uint32_t i = 0; i < request->library_count; i++) {
		const struct ulp_request_library *library = &ulp_request_libraries(request)[i];
		const struct ulp_request_replacement *replacement =
			ulp_request_replacements(request, library);

		for (uint32_t k = 0; k < library->replacement_count; k++) {
			uint64_t address = object->base + replacement[k].replacement;

			if (address < object->text_start || address >= object->text_end)
				return false;
		}
	}
	return true;
}

/* The patch library, loaded now or by an earlier apply of the same patch. */
static enum ulp_error load_patch(const struct ulp_request *request, uint32_t patch,
				 struct ulp_object *object, char *detail)
{
	const char *path = ulp_request_string(request, request->patch_path);
	enum ulp_error error;

	if (patch != NONE) {
		object->base = patch_base[patch];
		object->text_start = ulp_state.patches[patch].text_start;
		object->text_end = ulp_state.patches[patch].text_end;
	} else {
		error = ulp_loader_load(path, object, detail);
		if (error)
			return error;
		if (!ulp_object_has_build_id(object, request->patch_build_id,
					     request->patch_build_id_size)) {
			snprintf(detail, ULP_DETAIL_SIZE, "%s", path);
			return ULP_PATCH_MISMATCH;
		}
	}
	return replacements_inside(request, object) ? ULP_OK : ULP_BAD_REQUEST;
}

static uint32_t show_patch(const struct ulp_request *request, uint32_t patch, uint32_t domain,
			   const struct ulp_object *object)
{
	struct ulp_patch *shown;

	if (patch == NONE)
		patch = ulp_state.patch_count;
	shown = &ulp_state.patches[patch];
	memcpy(shown->id, request->patch_id, sizeof shown->id);
	shown->text_start = object->text_start;
	shown->text_end = object->text_end;
	shown->domain = domain;
	strncpy(shown->name, ulp_request_string(request, request->patch_name),
		sizeof shown->name - 1);
	patch_base[patch] = object->base;
	return patch;
}

/* A version that a stub has been written for, and that waits to be put in place. */
struct pending {
	struct ulp_function *function;
	struct ulp_version *version;
	struct ulp_stub_record *stub; /* NULL: nothing changes for this function */
};

static void put_in_place(struct pending *pending, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (pending[i].stub)
			ulp_stub_put_in_place(pending[i].function, pending[i].stub);
}

static void discard(struct pending *pending, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (pending[i].stub)
			ulp_stub_discard(pending[i].stub);
}

static enum ulp_error write_replacements(const struct ulp_text *text,
					 const struct ulp_request *request, uint32_t patch,
					 uint64_t universe, struct pending *pending,
					 uint32_t *count)
{
	for (uint32_t i = 0; i < request->library_count; i++) {
		const struct ulp_request_library *library = &ulp_request_libraries(request)[i];
		const struct ulp_request_replacement *replacement =
			ulp_request_replacements(request, library);

		for (uint32_t k = 0; k < library->replacement_count; k++) {
			struct pending *next = &pending[*count];
			struct ulp_function *function =
				ulp_function_find(library->base + replacement[k].function);

			if (!function || !(function->hooked & ULP_SITE_ENTRY))
				return ULP_BAD_REQUEST;
			next->version = malloc(sizeof *next->version);
			if (!next->version)
				return ULP_NO_MEMORY;
			++*count;
			next->function = function;
			next->version->patch = patch;
			next->version->target = patch_base[patch] + replacement[k].replacement;
			next->stub =
				ulp_stub_write(text, function, universe, next->version->target);
			if (!next->stub)
				return ULP_TEXT_UNWRITABLE;
		}
	}
	return ULP_OK;
}

static uint32_t count_replacements(const struct ulp_request *request)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < request->library_count; i++)
		count += ulp_request_libraries(request)[i].replacement_count;
	return count;
}

static enum ulp_error replace(const struct ulp_text *text, const struct ulp_request *request,
			      uint32_t patch)
{
	uint64_t universe = ulp_state.domains[ulp_state.patches[patch].domain].universe + 1;
	uint32_t count = 0;
	struct pending *pending = calloc(count_replacements(request) + 1, sizeof *pending);
	enum ulp_error error;

	if (!pending)
		return ULP_NO_MEMORY;
	error = universe > INT32_MAX
			? ULP_FULL
			: write_replacements(text, request, patch, universe, pending, &count);
	if (!error && !ulp_text_barrier())
		error = ULP_NO_BARRIER;
	if (error) {
		discard(pending, count);
		for (uint32_t i = 0; i < count; i++)
			free(pending[i].version);
		free(pending);
		return error;
	}
	put_in_place(pending, count);
	for (uint32_t i = 0; i < count; i++) {
		pending[i].version->older = pending[i].function->versions;
		pending[i].function->versions = pending[i].version;
	}
	ulp_state.patches[patch].functions = count;
	publish(patch, ULP_PATCH_APPLIED);
	free(pending);
	return ULP_OK;
}

static enum ulp_error hook_libraries(const struct ulp_text *text, const struct ulp_request *request,
				     char *detail)
{
	for (uint32_t i = 0; i < request->library_count; i++) {
		const struct ulp_request_library *wanted = &ulp_request_libraries(request)[i];
		uint32_t index = find_library(wanted->base);
		struct hooks hooks = {.count = 0};
		enum ulp_error error = plan_hooks(request, wanted, index, &hooks, detail);

		if (!error)
			error = hook(text, &ulp_state.libraries[index], &hooks, detail);
		if (!error)
			ulp_state.libraries[index].hooked += hooks.created_count;
		forget(&hooks);
		if (error)
			return error;
	}
	return ULP_OK;
}

enum ulp_error ulp_detour_apply(const struct ulp_request *request, uint64_t *universe, char *detail)
{
	uint32_t patch = find_patch(request->patch_id);
	struct ulp_object object;
	struct ulp_text text;
	uint32_t domain;
	enum ulp_error error;

	if (patch != NONE && ulp_state.patches[patch].status == ULP_PATCH_APPLIED)
		return ULP_ALREADY_APPLIED;
	if (patch == NONE && ulp_state.patch_count == ULP_PATCHES) {
		snprintf(detail, ULP_DETAIL_SIZE, "more than %d patches", ULP_PATCHES);
		return ULP_FULL;
	}
	error = ulp_text_open(&text);
	if (!error)
		error = verify_libraries(request, &domain, detail);
	if (!error)
		error = load_patch(request, patch, &object, detail);
	if (!error)
		error = add_missing(request, &domain);
	if (!error)
		settle(domain, request);
	if (!error && !ulp_universe_add_patch(domain, object.text_start, object.text_end))
		error = ULP_FULL;
	if (!error)
		error = hook_libraries(&text, request, detail);
	if (!error) {
		patch = show_patch(request, patch, domain, &object);
		error = replace(&text, request, patch);
	}
	if (!error)
		*universe = ulp_state.patches[patch].applied_universe;
	ulp_text_close(&text);
	return error;
}

/* ----------------------------------------------------------------- settle */

enum ulp_error ulp_detour_settle(const struct ulp_request *request, uint64_t *universe)
{
	uint32_t patch = find_patch(request->patch_id);
	struct ulp_domain *domain;

	if (patch == NONE)
		return ULP_NOT_APPLIED;
	domain = &ulp_state.domains[ulp_state.patches[patch].domain];
	/* Old versions stay: a coroutine may have been where the core could not look. */
	raise_floor(domain, request);
	*universe = domain->floor;
	return ULP_OK;
}

/* ----------------------------------------------------------------- revert */

struct revert {
	uint32_t patch;
	uint64_t universe;
	const struct ulp_text *text;
	struct pending *pending;
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
	struct pending *next = &revert->pending[revert->count];
	uint64_t target;

	if (!version)
		return true;
	next->function = function;
	next->version = version;
	revert->count++;
	if (version != function->versions)
		return true; /* a newer patch covers it, before and after */
	target = version->older ? version->older->target
				: ulp_code_resume(function->address, endbr(function));
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

enum ulp_error ulp_detour_revert(const struct ulp_request *request, uint64_t *universe,
				 char *detail)
{
	struct revert revert = {.patch = find_patch(request->patch_id)};
	struct ulp_text text;

	if (revert.patch == NONE || ulp_state.patches[revert.patch].status != ULP_PATCH_APPLIED)
		return ULP_NOT_APPLIED;
	revert.error = ulp_text_open(&text);
	if (revert.error)
		return revert.error;
	settle(ulp_state.patches[revert.patch].domain, request);
	ulp_function_each(count_versions, &revert);
	revert.universe = ulp_state.domains[ulp_state.patches[revert.patch].domain].universe + 1;
	revert.pending = calloc(revert.count + 1, sizeof *revert.pending);
	if (!ulp_stubs_left(revert.count) || revert.universe > INT32_MAX) {
		snprintf(detail, ULP_DETAIL_SIZE, "no room for %u stubs", revert.count);
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
		put_in_place(revert.pending, revert.count);
		publish(revert.patch, ULP_PATCH_REVERTED);
		for (uint32_t i = 0; i < revert.count; i++)
			drop_version(revert.pending[i].function, revert.pending[i].version);
		*universe = ulp_state.patches[revert.patch].reverted_universe;
	} else {
		discard(revert.pending, revert.count);
	}
	free(revert.pending);
	return revert.error;
}
