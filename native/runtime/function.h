/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions whose entry leads, or will lead, through a stub. */
#ifndef ULP_FUNCTION_H
#define ULP_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

struct ulp_stub_record;

/* A patch's version of a function. */
struct ulp_version {
	struct ulp_version *older;
	uint32_t patch; /* index into ulp_state.patches */
	uint64_t target;
};

/* Once the slow path may see one, it stays at its address for the life of the process. */
struct ulp_function {
	uint64_t address;
	struct ulp_hook *shown; /* the same for a reader outside, see hook_table.h */
	uint64_t *slot; /* what the way to a stub goes through; holds the newest stub's address */
	struct ulp_pun *pun;           /* with ULP_SITE_PUN, see site_pun.h */
	struct ulp_stub_record *stubs; /* newest first */
	uint32_t library;              /* index into ulp_state.libraries */
	uint32_t domain;
	uint32_t flags;               /* ULP_SITE_* */
	uint32_t hooked;              /* of ULP_SITE_HOPS: what is switched on */
	struct ulp_version *versions; /* of the applied patches, newest first */
	uint64_t jumped_since;        /* from this universe on code of a patch library may jump
	                                 to it; 0: none does */
};

/* Whether its entry is an endbr64 with the nops behind it. */
bool ulp_function_endbr(const struct ulp_function *function);

/* The function at `address`, or NULL. Takes no lock; may be called from anywhere. */
struct ulp_function *ulp_function_find(uint64_t address);

/* Whether whoever goes to `address` comes to an entry check: a hooked function's, or its trampoline's. */
bool ulp_function_entry(uint64_t address);

/*
 * Room for `count` more functions, not to be found before ulp_function_publish().
 * NULL if there is no memory.
 */
struct ulp_function *ulp_function_reserve(uint32_t count);
/* Makes the first `count` of a reserved block findable; they are in ascending order. */
bool ulp_function_publish(struct ulp_function *block, uint32_t count);

/* Calls `visit` with every function, until it returns false. */
void ulp_function_each(bool (*visit)(struct ulp_function *function, void *argument),
		       void *argument);

#endif
