/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <time.h>

#include "runtime/clock.h"
#include "runtime/publish.h"
#include "runtime/state.h"

void ulp_pending_put_in_place(const struct ulp_pending *pending, uint32_t count)
{
	ulp_state_begin_change();
	for (uint32_t i = 0; i < count; i++)
		if (pending[i].stub)
			ulp_stub_put_in_place(pending[i].function, pending[i].stub);
	ulp_state_end_change();
}

void ulp_pending_discard(const struct ulp_pending *pending, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (pending[i].stub)
			ulp_stub_discard(pending[i].stub);
}

bool ulp_publish_hooked_again(uint32_t domain_index)
{
	struct ulp_domain *domain = &ulp_state.domains[domain_index];
	uint64_t universe = domain->universe + 1;

	if (universe > INT32_MAX)
		return false;
	ulp_state_begin_change();
	domain->hooked_again = universe;
	__atomic_store_n(&domain->universe, universe, __ATOMIC_SEQ_CST);
	ulp_state_end_change();
	return true;
}

void ulp_publish(uint32_t domain_index, uint32_t applied, const bool withdrawn[ULP_PATCHES])
{
	struct ulp_domain *domain = &ulp_state.domains[domain_index];
	uint64_t universe = domain->universe + 1, now = ulp_clock_ns(CLOCK_REALTIME);

	ulp_state_begin_change();
	for (uint32_t i = 0; i < ulp_state.patch_count; i++) {
		if (!withdrawn[i])
			continue;
		ulp_state.patches[i].status = ULP_PATCH_REVERTED;
		ulp_state.patches[i].loaded_ns = now;
		ulp_state.patches[i].reverted_universe = universe;
	}
	if (applied != ULP_NONE) {
		ulp_state.patches[applied].status = ULP_PATCH_APPLIED;
		ulp_state.patches[applied].loaded_ns = now;
		ulp_state.patches[applied].applied_universe = universe;
		ulp_state.patches[applied].reverted_universe = 0;
		if (applied == ulp_state.patch_count)
			ulp_state.patch_count = applied + 1;
	}
	__atomic_store_n(&domain->universe, universe, __ATOMIC_SEQ_CST);
	ulp_state_end_change();
}
