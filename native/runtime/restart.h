/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of a system call that the diversion interrupted. */
#ifndef ULP_RESTART_H
#define ULP_RESTART_H

#include <ulp/abi.h>

/* Blocks every signal of the calling thread but the C library's own for setuid(). */
void ulp_restart_block_signals(void);

/*
 * Settles the interrupted call in the block: made again, or, when a signal with a
 * handler has arrived meanwhile that would have ended it, failed with EINTR.  Then
 * puts the signal mask back, which lets the handler run.
 */
void ulp_restart_settle(struct ulp_block *block);

#endif
