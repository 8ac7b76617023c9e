/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions that freestanding.c has besides those of <string.h>. */
#ifndef ULP_FREESTANDING_H
#define ULP_FREESTANDING_H

/* Called by code that was compiled with a stack protector. */
__attribute__((noreturn)) void __stack_chk_fail(void);

#endif
