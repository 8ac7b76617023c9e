/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that carries a request out while everybody else runs. */
#ifndef ULP_WORKER_H
#define ULP_WORKER_H

#include <stdbool.h>

#include <ulp/abi.h>

/*
 * Starts the worker for the request with this nonce; `result` is closed by the worker.  `may_copy` is
 * ULP_BLOCK_MAY_COPY: the worker has the filter of the thread that starts it.
 */
bool ulp_worker_start(uint64_t nonce, bool may_copy, struct ulp_result *result);

/*
 * Whether the worker of a request that is still being carried out has ended: a seccomp filter has
 * killed it, say, with whatever it held.  False as well where /proc does not tell.
 */
bool ulp_worker_is_lost(void);

#endif
