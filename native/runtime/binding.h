/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bindings: words of a patch library that stand for variables and functions of its targets.  Each
 * process fills in its own values, before anybody can execute code that uses them.
 */
#ifndef ULP_BINDING_H
#define ULP_BINDING_H

#include "runtime/loader.h"
#include "runtime/request.h"

/*
 * Fills all words that the request names in `patch`.  The request's libraries are held.  On failure
 * nothing that is executed has changed, and `detail` (ULP_DETAIL_SIZE bytes) says what is missing.
 */
enum ulp_error ulp_bindings_fill(const struct ulp_taken *taken, const struct ulp_object *patch,
				 char *detail);

#endif
