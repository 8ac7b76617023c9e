/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hooks: entries and trampolines that lead through a stub.  A hooked function without a
 * published replacement behaves as before.
 */
#ifndef ULP_HOOK_H
#define ULP_HOOK_H

#include <ulp/abi.h>

#include "runtime/request.h"
#include "runtime/text.h"

/*
 * Hooks every site of the request that is not hooked yet.  Its libraries are in the state block.
 * On failure what is hooked already stays so, and `detail` (ULP_DETAIL_SIZE bytes) may say more.
 */
enum ulp_error ulp_hook_libraries(const struct ulp_text *text, const struct ulp_taken *taken,
				  char *detail);

#endif
