/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking a patch back: each of its functions leads to the version below, or to the original,
 * from the domain's next universe on.  Nothing is unloaded.
 */
#ifndef ULP_REVERT_H
#define ULP_REVERT_H

#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/request.h"
#include "runtime/withdrawal.h"

/*
 * Carries the request out; `*universe` is what new entries take from now on.  On failure
 * nothing is published and `detail` (ULP_DETAIL_SIZE bytes) may say more.
 */
enum ulp_error ulp_revert(const struct ulp_taken *taken, uint64_t *universe, char *detail);

/*
 * The same for the patches of `withdrawal`, all of this domain, in one publish.  `applied` stays, and
 * counts as applied from there on: a thread with an older number may have it beside them.  Or ULP_NONE.
 */
enum ulp_error ulp_revert_all(const struct ulp_request *request, struct ulp_withdrawal *withdrawal,
			      uint32_t domain, uint32_t applied, uint64_t *universe, char *detail);

#endif
