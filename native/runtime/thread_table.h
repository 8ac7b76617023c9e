/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which threads have been seen at an entry, so that a reader outside finds their universe numbers. */
#ifndef ULP_THREAD_TABLE_H
#define ULP_THREAD_TABLE_H

#include <stdbool.h>

#include <ulp/abi.h>

extern struct ulp_thread ulp_threads[ULP_THREAD_SETS * ULP_THREAD_WAYS];

/* Call once, at start. */
void ulp_thread_learn(void);

/* The calling thread's ID as the C library knows it, without a system call where its place is known. */
uint64_t ulp_thread_id(void);

/* Notes the calling thread, and whether its last entry into `domain` could be proved. */
void ulp_thread_note(uint32_t domain, bool provable);

/* In a forked child, whose thread has another ID and its parent's numbers. */
void ulp_thread_forked(void);

#endif
