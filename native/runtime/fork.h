/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork() while the worker is at work: the child must not inherit half a change.  So a
 * fork waits for the worker, within a limit, and once at most until the patch library is loaded:
 * later forks wait no more.  After the limit the child refuses further requests, and what it has is complete as
 * far as it was published.
 */
#ifndef ULP_FORK_H
#define ULP_FORK_H

#include <stdbool.h>

/* pthread_atfork(3). Returns false if there is no memory. */
bool ulp_at_fork(void (*before_fork)(void), void (*in_parent)(void), void (*in_child)(void));

/* Called by the worker, not before: a process that is never patched gets no handler. */
bool ulp_fork_prepare_for(void);

/* The worker's change begins, and ends. */
void ulp_fork_hold(void);
void ulp_fork_release(void);

/* What is left of the change needs the loader no more, for which a thread that forks might make it wait. */
void ulp_fork_beyond_loader(void);

/* True in a process that was forked in the middle of a change. */
bool ulp_fork_broke_change(void);

#endif
