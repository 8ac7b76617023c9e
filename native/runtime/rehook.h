/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hooks that somebody else has undone: a uprobe that was taken off puts back what the file has, and so
 * may a debugger, or a program that restores its own code.
 */
#ifndef ULP_REHOOK_H
#define ULP_REHOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <ulp/abi.h>

#include "runtime/text.h"

/*
 * Looks at every hook of the domain, and changes nothing.  `*undone`: at some the code from before they
 * were made is back, and nobody would be harmed by putting them back.  ULP_UNEXPECTED_CODE, with the
 * function in `detail` (ULP_DETAIL_SIZE bytes): there is something else, which is not ours to overwrite.
 */
enum ulp_error ulp_hooks_examine(uint32_t domain, bool *undone, char *detail);

/* Puts back what ulp_hooks_examine() found undone, and begins the domain's next universe. */
enum ulp_error ulp_hooks_put_back(const struct ulp_text *text, uint32_t domain, char *detail);

#endif
