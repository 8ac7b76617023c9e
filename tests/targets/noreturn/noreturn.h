/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef NORETURN_H
#define NORETURN_H

typedef void (*never_returns)(void) __attribute__((noreturn));

/* Its last instruction is the call. */
void run(never_returns callback);
int version(void);

#endif
