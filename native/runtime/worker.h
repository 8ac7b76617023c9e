/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that carries a request out while everybody else runs. */
#ifndef ULP_WORKER_H
#define ULP_WORKER_H

#include <stdbool.h>

#include <ulp/abi.h>

/* Starts the worker for the request with this nonce; `result` is closed by the worker. */
bool ulp_worker_start(uint64_t nonce, struct ulp_result *result);

#endif
