/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TRACER_H
#define TRACER_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Diverts another process, which was forked from this one and waits in a system call that it has
 * to begin again, as the core does it.
 */
void divert_process(pid_t process, uint64_t nonce);

/* Waits for the answer in the memory of that process. */
struct ulp_result answer_of_process(pid_t process, uint64_t nonce);

#endif
