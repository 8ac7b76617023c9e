/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shape: state of a library, and functions of it, of every kind that new code may have to reach. */
#ifndef BINDINGS_H
#define BINDINGS_H

/* A program that uses the variable has a copy; one that defines the function is asked in the library's place. */
extern int copied;
int interposed(void);

extern __thread int per_thread;

/* The sum of all there is; the replacement adds one to each variable, and turns the sign. */
int sum(void);

#endif
