/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "runtime/format.h"
#include "runtime/publish.h"
#include "runtime/revert.h"
#include "runtime/settle.h"
#include "runtime/state.h"
#include "runtime/stub.h"
#include "runtime/text.h"

static enum ulp_error publish_without(const struct ulp_withdrawal *withdrawal,
				      const struct ulp_text *text, uint32_t domain,
				      uint32_t applied, char *detail)
{
	uint64_t universe = ulp_state.domains[domain].universe + 1;
	struct ulp_pending *pending;
	uint32_t count = 0;
	enum ulp_error error;

	if (!ulp_stubs_left(withdrawal->functions) || universe > INT32_MAX) {
		ulp_format(detail, ULP_DETAIL_SIZE, "no room for %u stubs", withdrawal->functions);
		return ULP_FULL;
	}
	pending = calloc(withdrawal->functions + 1, sizeof *pending);
	if (!pending)
		return ULP_NO_MEMORY;
	error = ulp_withdrawal_write(withdrawal, text, universe, pending, &count);
	if (!error && !ulp_text_barrier())
		error = ULP_NO_BARRIER;
	if (!error) {
		ulp_pending_put_in_place(pending, count);
		ulp_publish(domain, applied, withdrawal->of);
		ulp_withdrawal_finish(withdrawal);
	} else {
		ulp_pending_discard(pending, count);
	}
	free(pending);
	return error;
}

enum ulp_error ulp_revert_all(const struct ulp_request *request, struct ulp_withdrawal *withdrawal,
			      uint32_t domain, uint32_t applied, uint64_t *universe, char *detail)
{
	struct ulp_text text;
	enum ulp_error error = ulp_text_open(&text);

	if (error)
		return error;
	ulp_settle_domain(domain, request);
	ulp_withdrawal_count(withdrawal);
	error = publish_without(withdrawal, &text, domain, applied, detail);
	ulp_text_close(&text);
	if (!error)
		*universe = ulp_state.domains[domain].universe;
	return error;
}

enum ulp_error ulp_revert(const struct ulp_taken *taken, uint64_t *universe, char *detail)
{
	uint32_t patch = ulp_state_find_patch(taken->request->patch_id), domain;
	struct ulp_withdrawal withdrawal;
	enum ulp_error error;

	if (patch == ULP_NONE || ulp_state.patches[patch].status != ULP_PATCH_APPLIED)
		return ULP_NOT_APPLIED;
	domain = ulp_state.patches[patch].domain;
	error = ulp_withdrawal_read(taken, domain, &withdrawal, detail);
	if (error)
		return error;
	ulp_withdrawal_add(&withdrawal, patch);
	return ulp_revert_all(taken->request, &withdrawal, domain, ULP_NONE, universe, detail);
}
