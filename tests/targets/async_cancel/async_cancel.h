/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef ASYNC_CANCEL_H
#define ASYNC_CANCEL_H

int version(void);

/* A variable of the library's that its cleanup handlers count in. */
extern unsigned long library_cleanups;

/* Calls back from below a cleanup handler; never returns if the callback does not. */
int around(int (*callback)(void *), void *argument);

#endif
