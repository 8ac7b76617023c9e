/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CALLBACK_H
#define CALLBACK_H

#include <setjmp.h>

int version(void);

/* Calls back, and returns 100 * version before + 10 * version after + what the callback returned. */
int around(int (*callback)(void *), void *argument);

/* Never returns: jumps to the application's buffer with the version. */
void leave(jmp_buf buffer);

#endif
