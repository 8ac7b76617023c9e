/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Old versions: the floor below which no thread is, and what is given up below it. */
#ifndef ULP_SETTLE_H
#define ULP_SETTLE_H

#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/request.h"

/* What the core saw before this request: the domain's floor rises, and versions below it are given up. */
void ulp_settle_domain(uint32_t domain, const struct ulp_request *request);

/*
 * A request of its own.  Publishes nothing; `*universe` becomes the floor as it is then, or, where
 * the request excepts threads, what was seen of the others, 0 if that is not true any more.
 */
enum ulp_error ulp_settle(const struct ulp_taken *taken, uint64_t *universe);

/* In a forked child. */
void ulp_settle_forked(void);

#endif
