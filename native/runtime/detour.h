/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hooks and detours: applying a patch and taking it back.
 *
 * Everything up to the last step is invisible to the process: a hooked function without
 * a published replacement behaves as before.  The last step is one store, of the
 * domain's universe.
 */
#ifndef ULP_DETOUR_H
#define ULP_DETOUR_H

#include <ulp/abi.h>

/*
 * Carries the request out.  On failure nothing is published and `detail`
 * (ULP_DETAIL_SIZE bytes) may say more.
 */
enum ulp_error ulp_detour_apply(const struct ulp_request *request, uint64_t *universe,
				char *detail);
enum ulp_error ulp_detour_revert(const struct ulp_request *request, uint64_t *universe,
				 char *detail);

/* Publishes nothing; `*universe` becomes the floor as it is then. */
enum ulp_error ulp_detour_settle(const struct ulp_request *request, uint64_t *universe);

#endif
