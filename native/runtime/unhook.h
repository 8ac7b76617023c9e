/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hooks that are undone: the code is again what it was before. */
#ifndef ULP_UNHOOK_H
#define ULP_UNHOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

/* Whether a domain has hooks that go with a revert, and no livepatch is applied to it. */
bool ulp_hooks_go(uint32_t domain);

/*
 * Undoes the hooks of a domain for which ulp_hooks_go() says so, if nothing of it is replaced any more
 * for any thread: the stubs of older universes are given up.
 */
enum ulp_error ulp_hooks_undo(uint32_t domain);

#endif
