/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a target has that new code may refer to; binding_patch.c has the words. */
#ifndef BINDING_TARGET_H
#define BINDING_TARGET_H

/* Of these the program has a copy, and a function of its own that takes the other's place. */
extern int copied;
int interposed(void);

extern __thread int per_thread;

/* Addresses of a static variable and a static function. */
const void *hidden_variable_address(void);
const void *hidden_function_address(void);

/* copied + hidden + per_thread + interposed() + hidden_function(). */
int sum(void);

#endif
