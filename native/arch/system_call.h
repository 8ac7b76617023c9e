/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls, made here: a target may export any function of the C library, and what is
 * called on the way into a hooked function must not be one.
 */
#ifndef ULP_ARCH_SYSTEM_CALL_H
#define ULP_ARCH_SYSTEM_CALL_H

#include "machine.h"

/*
 * Returns what the kernel returns: a negative error number, from -4095 on, where it fails.
 * Arguments that are not given are 0.
 */
#define ULP_SYSTEM_CALL_(number, a, b, c, d, e, f, ...)                                            \
	ulp_system_call_6((long)(number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e),   \
			  (long)(f))
#define ulp_system_call(...) ULP_SYSTEM_CALL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

#endif
