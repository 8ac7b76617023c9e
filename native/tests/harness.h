/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <ulp/abi.h>

#include "check.h"

/* Found as the core finds it: by name. A plain reference would move it into the program. */
struct ulp_state *runtime_state(void);
#define STATE runtime_state()

/* A pair of functions, by address in the target and by name in the patch library. */
struct pair {
	const void *old;
	const char *replacement;
};

/* The one function, if any, that the library jumps to. */
extern const void *tail;

/* Of the block of the next diversions: ULP_BLOCK_*. */
extern uint64_t divert_flags;

/* Flags that every site has besides its own. */
extern uint32_t every_site;

/* What the next requests say of universes that are over; see struct ulp_request. */
extern uint32_t settled;
extern uint64_t settled_keeps;

/* Where a function without padding can be hooked. */
struct stock_site {
	const void *function;
	unsigned offset; /* of the instruction, from the function's start on */
	unsigned length;
	enum ulp_pun_instruction instruction;
	unsigned displacement;
	uint32_t before, after; /* from the stack pointer to the canonical frame address */
	unsigned char code[ULP_PUN_CODE]; /* what is written; all 0: e9 over the first byte */
	unsigned written;
	unsigned gap; /* its offset from the function's start on; 0: none is used */
};

/* If set, the target of the next requests is a stock library; a function may have several, the last has none. */
extern const struct stock_site *stock;

/* The patch number n has the ID n, n, n, ...; its library is PATCH_PATH. */
void apply(unsigned char patch, const char *path, bool endbr, const void *const *functions,
	   const struct pair *pairs);
void revert(unsigned char patch);
/* Says what `settled` says, of the patch's domain, and nothing else. */
void settle(unsigned char patch);

/* Puts a request together without sending it, for tests that spoil it. */
struct ulp_request *prepare_apply(unsigned char patch, const char *path, bool endbr,
				  const void *const *functions, const struct pair *pairs);
struct ulp_request *prepare_settle(unsigned char patch);
/* Diverts the calling thread; waits for the answer. */
struct ulp_result send(struct ulp_request *request);
/* Diverts the calling thread; the answer as it is when the thread is back, or NULL. */
const struct ulp_result *divert_once(const struct ulp_request *request);
/*
 * Diverts the calling thread out of a system call that the kernel has interrupted with this
 * error.  Returns 0 if the call would be made again now, or the error that it would return.
 */
long divert_from_call(uint64_t interrupted);
void seal(struct ulp_request *request);

#endif
