/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CANCEL_H
#define CANCEL_H

#ifdef __cplusplus
extern "C" {
#endif

/* Blocks in read(fd), a cancellation point, below a cleanup handler of the library. */
int wait_inside(int fd, int *inside);

int version(void);

/* The sum over all cleanups run by the library: old code adds 1, new code 100. */
extern int cleanups;

/* Objects destroyed on the frame of the C++ function that wait_inside goes through. */
extern int destroyed;

#ifdef __cplusplus
}
#endif

#endif
