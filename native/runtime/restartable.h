/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Restartable sequences (rseq(2)): what the C library insists on when a thread starts. */
#ifndef ULP_RESTARTABLE_H
#define ULP_RESTARTABLE_H

#include <stdbool.h>

/* Looks for the C library's area. Called once, when the runtime is loaded. */
void ulp_restartable_learn(void);

/*
 * Whether a thread that the calling one starts would end the process: the C library has it register
 * what its creator has registered, and aborts where that fails. It fails under a seccomp filter that
 * came later and denies rseq with an error. Asks the kernel, by a call that changes nothing.
 */
bool ulp_restartable_is_denied(void);

#endif
