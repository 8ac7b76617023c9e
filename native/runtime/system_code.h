/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the code lies that every program runs beside its own: the C library, the loader, the
 * kernel's, and the memory allocator.
 */
#ifndef ULP_SYSTEM_CODE_H
#define ULP_SYSTEM_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/image.h"

enum ulp_place {
	ULP_PLACE_OTHER, /* the program and its libraries */
	ULP_PLACE_C_LIBRARY,
	ULP_PLACE_LOADER,
	ULP_PLACE_KERNEL,    /* the vdso */
	ULP_PLACE_ALLOCATOR, /* where it is a library of its own */
};

/*
 * Call before the others, from a thread that answers a request, when the images are known.
 * Returns false if the C library or the loader is not found.
 */
bool ulp_system_code_learn(void);

/* Where `address` lies, in the whole of an object; or in those of its pages alone that are code. */
enum ulp_place ulp_system_code_place(uint64_t address);
enum ulp_place ulp_system_code_place_in_text(uint64_t address);

bool ulp_system_code_in_c_library(uint64_t address);
/* Whether it is code of syscall(2), by which a program makes calls that the library knows nothing of. */
bool ulp_system_code_in_syscall(uint64_t address);

/* Whether the program itself brings the allocator: then where a frame lies tells nothing of it. */
bool ulp_system_code_allocator_in_program(void);

/* Only when it was learnt. */
const struct ulp_image *ulp_system_code_c_library(void);

#endif
