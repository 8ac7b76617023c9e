/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May a thread with these frames start another one? A function over what is known of each frame,
 * which reads nothing by itself.
 */
#ifndef ULP_FRAME_JUDGEMENT_H
#define ULP_FRAME_JUDGEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/blocked_calls.h"
#include "runtime/stack.h"
#include "runtime/system_code.h"

/* What the interrupted thread was doing. */
enum ulp_wait {
	ULP_RUNS,
	ULP_WAITS_FOR_LOCK, /* in futex(): perhaps for a lock of the C library's */
	ULP_WAITS,          /* in any other system call that can be made again */
};

/* Where an address lies, and what a function is. */
struct ulp_surroundings {
	enum ulp_place (*place)(uint64_t instruction);
	/* Of the function that starts there. */
	enum ulp_call_kind (*kind)(uint64_t function);
	/* The function that the call before `return_address` names, 0 if that can't be told. */
	uint64_t (*called)(uint64_t return_address);
	/* On the way into a function. */
	bool (*entering)(uint64_t instruction);
	bool (*sorts)(uint64_t function);
	bool allocator_in_program;
};

/*
 * `frame` has the `count` frames of the thread, innermost first, of which `wait` says what the innermost does;
 * `complete`: up to the end of its stack. Returns NULL, or why not, a static string.
 */
const char *ulp_judge_frames(const struct ulp_frame *frame, unsigned count, bool complete,
			     enum ulp_wait wait, const struct ulp_surroundings *surroundings);

#endif
