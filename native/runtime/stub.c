/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "arch.h"
#include "runtime/checksum.h"
#include "runtime/site.h"
#include "runtime/state.h"
#include "runtime/stub.h"

#define STUBS (ULP_STUB_POOL_SIZE / ULP_STUB_SIZE)

/* Places that have been used and are free again; behind `touched` none was used yet. */
static uint32_t free_places[STUBS];
static uint32_t free_count;
static uint32_t touched;

static void count_used(void)
{
	ulp_state.stubs_used = (uint64_t)(touched - free_count) * ULP_STUB_SIZE;
}

bool ulp_stubs_left(uint64_t count)
{
	return count <= STUBS - touched + free_count;
}

static uint64_t address_of(uint32_t place)
{
	return ulp_state.stubs_start + (uint64_t)place * ULP_STUB_SIZE;
}

static bool take(uint64_t *address)
{
	if (!ulp_stubs_left(1))
		return false;
	*address = address_of(free_count ? free_places[--free_count] : touched++);
	count_used();
	return true;
}

void ulp_stub_discard(struct ulp_stub_record *stub)
{
	free_places[free_count++] =
		(uint32_t)((stub->address - ulp_state.stubs_start) / ULP_STUB_SIZE);
	count_used();
	free(stub);
}

struct ulp_stub_record *ulp_stub_write(const struct ulp_text *text,
				       const struct ulp_function *function, uint64_t from,
				       uint64_t replacement)
{
	const struct ulp_domain *domain = &ulp_state.domains[function->domain];
	struct ulp_stub_record *record = calloc(1, sizeof *record);
	unsigned char code[ULP_STUB_SIZE];
	const struct ulp_stub stub = {
		.tls_offset = domain->tls_offset,
		.universe = &domain->universe,
		.function = (uint64_t)function,
		.from = (uint32_t)from,
		.replacement = replacement,
		.older = function->stubs ? ulp_code_chain(function->stubs->address)
					 : ulp_site_of(function)->old_version(function),
	};

	if (!record)
		return NULL;
	record->from = from;
	if (!take(&record->address)) {
		free(record);
		return NULL;
	}
	if (!ulp_code_stub(&stub, record->address, code) ||
	    !ulp_text_write(text, record->address, code, sizeof code)) {
		ulp_stub_discard(record);
		return NULL;
	}
	record->checksum = ulp_checksum(code, sizeof code);
	return record;
}

void ulp_stub_put_in_place(struct ulp_function *function, struct ulp_stub_record *stub)
{
	stub->older = function->stubs;
	function->stubs = stub;
	function->shown->stub = stub->address;
	function->shown->stub_checksum = stub->checksum;
	__atomic_store_n(function->slot, stub->address, __ATOMIC_SEQ_CST);
}

struct giving_up {
	uint32_t domain;
	uint64_t floor;
};

static bool give_up(struct ulp_function *function, void *argument)
{
	const struct giving_up *what = argument;

	if (function->domain != what->domain || !function->stubs ||
	    function->stubs->from > what->floor)
		return true;
	/* Whoever comes has the floor's number at least, and goes no further than the newest. */
	while (function->stubs->older) {
		struct ulp_stub_record *older = function->stubs->older;

		function->stubs->older = older->older;
		ulp_stub_discard(older);
	}
	return true;
}

void ulp_stubs_give_up(uint32_t domain, uint64_t floor)
{
	struct giving_up what = {.domain = domain, .floor = floor};

	ulp_function_each(give_up, &what);
}
