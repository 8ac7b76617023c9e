/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions of a program that count as inside: see struct ulp_body. */
#ifndef ULP_BODIES_H
#define ULP_BODIES_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

/*
 * Adds `count` bodies, relative to the load bias, ascending and disjoint, to those of `program`.
 * `*more` is set if any of that was not in there yet.  Returns false if there is no memory.
 */
bool ulp_bodies_add(struct ulp_library *program, const struct ulp_body *bodies, uint32_t count,
		    bool *more);

/* Takes no lock; may be called from anywhere. */
bool ulp_bodies_hold(const struct ulp_library *program, uint64_t address);

#endif
