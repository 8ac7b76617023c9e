/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions of the C library in which a thread holds none of its locks. */
#ifndef ULP_BLOCKED_CALLS_H
#define ULP_BLOCKED_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/image.h"

enum ulp_call_kind {
	ULP_CALL_UNKNOWN,
	ULP_CALL_SYSTEM,    /* does a system call and nothing else worth mentioning */
	ULP_CALL_LEAF,      /* computes; may also have been asked to by the library itself */
	ULP_CALL_LOCK,      /* works on the caller's own lock */
	ULP_CALL_CONDITION, /* likewise, and waits to be told something, as no allocator does */
	ULP_CALL_JOIN,      /* takes a lock of the library's once it has waited */
	ULP_CALL_EXIT,      /* ends the thread, or the process; takes locks */
	ULP_CALL_ALLOCATE,  /* allocates or frees memory */
};

/* Call once, when the images are known. Returns the address of the malloc() that is called. */
uint64_t ulp_calls_learn(const struct ulp_image *c_library);

/* `function` is the address at which a function starts. */
enum ulp_call_kind ulp_call_kind(uint64_t function);

#endif
