/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TWO_LIBRARIES_H
#define TWO_LIBRARIES_H

/* libupper: calls liblower. */
int upper_version(void);

/* 10 * upper_version() + lower_version(), both called from inside libupper. */
int upper_through(void);

/* Calls back from inside libupper. */
void upper_around(void (*callback)(void *), void *argument);

/* liblower */
int lower_version(void);
void lower_around(void (*callback)(void *), void *argument);

#endif
