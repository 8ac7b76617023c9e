/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May a thread be started from where the calling thread was interrupted?
 *
 * Starting one allocates memory and takes locks of the C library, so the thread
 * must not have been interrupted inside the allocator, the loader, or any part of
 * the C library that may hold a lock.  Answered by looking at the stack, with
 * public interfaces only.
 */
#ifndef ULP_SAFE_POINT_H
#define ULP_SAFE_POINT_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

/*
 * Where the C library, the loader and the allocator lie.  Call before the others, from a
 * thread that answers a request, when the images are known.  Returns false if they are not found.
 */
bool ulp_safe_point_learn(void);

/* Whether `address` is code of the dynamic loader, or of the C library. */
bool ulp_safe_point_in_loader(uint64_t address);
bool ulp_safe_point_in_c_library(uint64_t address);
/* Whether it is code of syscall(2), by which a program makes calls that the library knows nothing of. */
bool ulp_safe_point_in_system_call_function(uint64_t address);

/* What the interrupted thread was doing. */
enum ulp_wait {
	ULP_RUNS,
	ULP_WAITS_FOR_LOCK, /* in futex(): perhaps for a lock of the C library's */
	ULP_WAITS,          /* in any other system call that can be made again */
};

/* `block` is that of the diverted thread. On false, `*why` names the reason, a static string. */
bool ulp_safe_point(const struct ulp_block *block, enum ulp_wait wait, const char **why);

#endif
