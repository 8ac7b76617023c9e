/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last steps of a request: new stubs are put in place, and the universe that they are for begins. */
#ifndef ULP_PUBLISH_H
#define ULP_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/stub.h"

/* A version that a stub has been written for, and that waits to be put in place. */
struct ulp_pending {
	struct ulp_function *function;
	struct ulp_version *version;
	struct ulp_stub_record *stub; /* NULL: nothing changes for this function */
};

/* One store for each: threads go through these stubs from now on, and on to what they had before. */
void ulp_pending_put_in_place(const struct ulp_pending *pending, uint32_t count);

/* What was written is not wanted after all; versions remain the caller's. */
void ulp_pending_discard(const struct ulp_pending *pending, uint32_t count);

/*
 * The one step that anybody sees: the domain's next universe begins, with the patch `applied`, an
 * index into ulp_state.patches or ULP_NONE, and without those that are `withdrawn`.
 */
void ulp_publish(uint32_t domain, uint32_t applied, const bool withdrawn[ULP_PATCHES]);

/*
 * Hooks of the domain had been undone, and threads entered unseen: its next universe begins, so that
 * every thread has to show again that it comes from outside.  False: there are no more numbers.
 */
bool ulp_publish_hooked_again(uint32_t domain);

#endif
