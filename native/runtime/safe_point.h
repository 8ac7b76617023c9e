/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May a thread be started from where the calling thread was interrupted?
 *
 * Starting one allocates memory and takes locks of the C library, so the thread
 * must not have been interrupted inside the allocator, the loader, or any part of
 * the C library that may hold a lock.  Answered by looking at the stack, with
 * public interfaces only.
 */
#ifndef ULP_SAFE_POINT_H
#define ULP_SAFE_POINT_H

#include <stdbool.h>

#include <ulp/abi.h>

#include "runtime/frame_judgement.h"

/* `block` is that of the diverted thread. On false, `*why` names the reason, a static string. */
bool ulp_safe_point(const struct ulp_block *block, enum ulp_wait wait, const char **why);

#endif
