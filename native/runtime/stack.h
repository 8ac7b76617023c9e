/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading the calling thread's own stack. Nothing on it is ever changed. */
#ifndef ULP_STACK_H
#define ULP_STACK_H

#include <stdbool.h>
#include <stdint.h>

/* One frame of a walk, innermost first. */
struct ulp_frame {
	uint64_t instruction;   /* 0 at the true end of a stack */
	uint64_t cfa_of_callee; /* the frame's stack pointer once its callee has returned */
	uint64_t function;      /* start of the function, 0 if unknown */
	bool interrupted;       /* by a signal, or diverted: not at a call */
};

typedef bool ulp_frame_visitor(const struct ulp_frame *frame, void *argument);

/*
 * Visits the frames of the calling thread until `visit` returns false or the stack
 * ends.  Returns true if the walk came to the true end of the stack; false if the
 * visitor stopped it, or if there is no frame description for the last frame
 * visited.  Takes no lock; makes no system call on the stack that the thread was started
 * with, unless the walk leads into an object that may be unloaded, or comes to its end there.
 */
bool ulp_stack_walk(ulp_frame_visitor *visit, void *argument);

/*
 * Visits every aligned word from `from` to the end of the calling thread's stack, until
 * `visit` returns false.  Returns false, having visited nothing, if `from` does not lie on
 * the stack that the thread was started with.
 */
bool ulp_stack_scan(uint64_t from, bool (*visit)(uint64_t word, void *argument), void *argument);

/* Call once, with what the loader passes to a constructor; on any thread. */
void ulp_stack_learn(char **argv);

/* The end of the stack that the calling thread was started with if `address` lies there, else 0. Near misses count. */
uint64_t ulp_stack_known_end(uint64_t address);

/*
 * Whether the calling thread, whose stack pointer is `address`, is on a stack that it was not started
 * with, and no signal handler on an alternate one: it runs a coroutine.  Near misses count as its
 * own.
 */
bool ulp_stack_of_coroutine(uint64_t address);

#endif
