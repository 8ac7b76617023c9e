/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The libraries that a request is about: verified, and shown in the state block with their domain. */
#ifndef ULP_TARGET_H
#define ULP_TARGET_H

#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/request.h"

/*
 * Every library of the request is what the core believes it to be, is held, and there is room
 * for it.  `*domain` becomes the domain of those that are known, ULP_NONE if none is.  On failure
 * `detail` (ULP_DETAIL_SIZE bytes) has the library's name or the limit.
 */
enum ulp_error ulp_targets_verify(const struct ulp_taken *taken, uint32_t *domain, char *detail);

/* Adds what is missing of verified libraries and their bodies, and the domain if there is none. */
enum ulp_error ulp_targets_add(const struct ulp_taken *taken, uint32_t *domain);

#endif
