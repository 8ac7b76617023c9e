/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/request.h"
#include "runtime/settle.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/text.h"
#include "runtime/unhook.h"
#include "runtime/universe.h"

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

/* The same of all threads but some. Whoever reads meanwhile believes nothing: see universe.c. */
static bool note_seen(struct ulp_domain *domain, const struct ulp_taken *taken)
{
	const struct ulp_request *request = taken->request;

	if (request->settled > domain->universe || request->settled < domain->seen ||
	    request->settled_keeps != __atomic_load_n(&domain->keeps, __ATOMIC_SEQ_CST))
		return false;
	ulp_state_begin_change();
	__atomic_store_n(&domain->seen_sequence, domain->seen_sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < request->excepted_count; i++)
		__atomic_store_n(&domain->excepted[i], taken->excepted[i], __ATOMIC_RELAXED);
	__atomic_store_n(&domain->excepted_count, request->excepted_count, __ATOMIC_RELAXED);
	__atomic_store_n(&domain->seen_keeps, request->settled_keeps, __ATOMIC_RELAXED);
	__atomic_store_n(&domain->seen, request->settled, __ATOMIC_RELAXED);
	__atomic_store_n(&domain->seen_sequence, domain->seen_sequence + 1, __ATOMIC_RELEASE);
	ulp_state_end_change();
	return true;
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

void ulp_settle_domain(uint32_t domain_index, const struct ulp_request *request)
{
	raise_floor(&ulp_state.domains[domain_index], request);
	give_up_old_versions(domain_index);
}

/*
 * Once nothing is replaced for anybody any more, who goes through a hook might as well not.  Of a
 * coroutine that was suspended inside the floor says nothing, and giving up would have it go on
 * with other functions: where there was one, hooks and old versions stay.
 */
static enum ulp_error undo_hooks(uint32_t domain_index)
{
	const struct ulp_domain *domain = &ulp_state.domains[domain_index];

	if (domain->floor < domain->universe || domain->suspended || !ulp_hooks_go(domain_index))
		return ULP_OK;
	give_up_old_versions(domain_index);
	return ulp_universe_given_up(domain_index) == domain->universe
		       ? ulp_hooks_undo(domain_index)
		       : ULP_OK;
}

enum ulp_error ulp_settle(const struct ulp_taken *taken, uint64_t *universe)
{
	const struct ulp_request *request = taken->request;
	uint32_t patch = ulp_state_find_patch(request->patch_id);
	struct ulp_domain *domain;

	if (patch == ULP_NONE)
		return ULP_NOT_APPLIED;
	domain = &ulp_state.domains[ulp_state.patches[patch].domain];
	/* Old versions stay: a coroutine may have been where the core could not look. */
	if (request->excepted_count) {
		*universe = note_seen(domain, taken) ? request->settled : 0;
	} else {
		raise_floor(domain, request);
		*universe = domain->floor;
		return undo_hooks(ulp_state.patches[patch].domain);
	}
	return ULP_OK;
}

void ulp_settle_forked(void)
{
	/* The one thread that there is may be one that was excepted, and has another ID. */
	for (uint32_t i = 0; i < ulp_state.domain_count; i++)
		ulp_state.domains[i].seen = 0;
}
