/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A patch library that comes as bytes, for a process that does not see its file: one in
 * a container, after chroot(), or without the right to read it.
 */
#ifndef ULP_MEMORY_FILE_H
#define ULP_MEMORY_FILE_H

#include <ulp/abi.h>

#include "runtime/descriptor.h"

/*
 * Makes an empty file in memory; maps show it as /memfd:ulp:NAME.  Returns 0, or a negative error number
 * of the kernel, and then `*file` is none.
 */
long ulp_memory_file_create(const char *name, struct ulp_descriptor *file);

/*
 * Makes an empty file without a name, tells the core its number in `result`, and waits
 * until the core has filled and sealed it.  On failure nothing is left of it.  Does nothing
 * if the patch with this ID (ULP_PATCH_ID_SIZE bytes) was loaded so before.
 */
enum ulp_error ulp_memory_file_receive(struct ulp_result *result, const char *name,
				       const uint8_t *id);

/* The path that leads to it on this thread; no two patches ever have the same. */
const char *ulp_memory_file_path(void);

/* The loader has taken it under that path. */
void ulp_memory_file_loaded(void);

/* Closes it, if there is one.  What has been loaded from it stays loaded. */
void ulp_memory_file_close(void);

#endif
