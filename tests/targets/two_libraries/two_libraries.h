/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TWO_LIBRARIES_H
#define TWO_LIBRARIES_H

/* libupper: calls liblower. */
int upper_version(void);

/* 10 * upper_version() + lower_version(), both called from inside libupper. */
int upper_through(void);

/* Calls back from inside libupper. */
void upper_around(void (*callback)(void *), void *argument);

/* Blocks in read(fd), and goes on by a jump in lower_version(). */
int upper_relay(int fd, int *entered);

/* liblower */
int lower_version(void);
void lower_around(void (*callback)(void *), void *argument);

#endif
