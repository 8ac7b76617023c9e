/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Applying a patch.
 *
 * Everything up to the last step is invisible to the process: a hooked function without
 * a published replacement behaves as before.  The last step is one store, of the
 * domain's universe.
 */
#ifndef ULP_APPLY_H
#define ULP_APPLY_H

#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/request.h"

/*
 * Carries the request out; `*universe` is what new entries take from now on.  On failure
 * nothing is published and `detail` (ULP_DETAIL_SIZE bytes) may say more.
 */
enum ulp_error ulp_apply(const struct ulp_taken *taken, uint64_t *universe, char *detail);

#endif
