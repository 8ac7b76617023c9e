/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which patches a publish takes back: those of a revert, or those in whose place another one is
 * applied.  Nobody sees a universe in which they are gone and what replaces them is not there.
 */
#ifndef ULP_WITHDRAWAL_H
#define ULP_WITHDRAWAL_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/publish.h"
#include "runtime/request.h"
#include "runtime/text.h"

struct ulp_withdrawal {
	bool of[ULP_PATCHES];
	uint32_t patches;   /* how many */
	uint32_t functions; /* that have a version of theirs */
};

/*
 * What the request names besides its own patch, as far as that is applied.  ULP_DOMAINS_DIFFER, with
 * a name in `detail`, if one is of another domain.
 */
enum ulp_error ulp_withdrawal_read(const struct ulp_taken *taken, uint32_t domain,
				   struct ulp_withdrawal *withdrawal, char *detail);

/* Adds a patch, an index into ulp_state.patches, which is applied. */
void ulp_withdrawal_add(struct ulp_withdrawal *withdrawal, uint32_t patch);

/* Counts the functions; call when all patches are known. */
void ulp_withdrawal_count(struct ulp_withdrawal *withdrawal);

/*
 * Writes a stub for each function whose newest version is taken back: to the newest one that stays,
 * or the original.  `pending` has room for `functions` more behind the `*count` that the request
 * replaces itself; those need no other stub.
 */
enum ulp_error ulp_withdrawal_write(const struct ulp_withdrawal *withdrawal,
				    const struct ulp_text *text, uint64_t universe,
				    struct ulp_pending *pending, uint32_t *count);

/* When it is published: forgets the versions. */
void ulp_withdrawal_finish(const struct ulp_withdrawal *withdrawal);

#endif
