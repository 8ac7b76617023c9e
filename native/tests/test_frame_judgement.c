/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The judgement whether a thread may be started from where another one is, as a table: frames, innermost first, and
 * the reason, NULL for yes.  Seen to fail with each of the 25 conditions of the judgement taken out or turned round.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "runtime/frame_judgement.h"

#define FRAMES         8
#define OF(count, ...) {__VA_ARGS__}, count

/*
 * An address says what it is: where it lies, the kind of the function that starts there, that of the function that a
 * call before it names, and two more properties.
 */
#define PLACE(place) ((uint64_t)(place) << 8)
#define CALLED(kind) ((uint64_t)(kind) << 16)
#define ENTERING     ((uint64_t)1 << 24)
#define SORTS        ((uint64_t)1 << 25)

static enum ulp_place place(uint64_t address)
{
	return (enum ulp_place)(address >> 8 & 0xff);
}

static enum ulp_call_kind kind(uint64_t address)
{
	return (enum ulp_call_kind)(address & 0xff);
}

static uint64_t called(uint64_t address)
{
	return address >> 16 & 0xff;
}

static bool entering(uint64_t address)
{
	return address & ENTERING;
}

static bool sorts(uint64_t address)
{
	return address & SORTS;
}

#define AT(where, function_)                                                                       \
	{                                                                                          \
		.instruction = PLACE(where), .function = (function_)                               \
	}
#define PROGRAM AT(ULP_PLACE_OTHER, 0)
/* A frame of the program that has called what is of that kind, and stands on a stub that jumps there. */
#define CALLS(kind)                                                                                \
	{                                                                                          \
		.instruction = CALLED(kind)                                                        \
	}
#define LIBC(kind) AT(ULP_PLACE_C_LIBRARY, kind)
#define INNER      LIBC(ULP_CALL_UNKNOWN)
#define LOADER     AT(ULP_PLACE_LOADER, 0)
#define KERNEL     AT(ULP_PLACE_KERNEL, 0)
#define ALLOCATOR  AT(ULP_PLACE_ALLOCATOR, 0)
#define SORT       AT(ULP_PLACE_C_LIBRARY, SORTS)
#define STUB                                                                                       \
	{                                                                                          \
		.instruction = ENTERING                                                            \
	}
/* A signal came here. */
#define HIT(where)                                                                                 \
	{                                                                                          \
		.instruction = PLACE(where), .interrupted = true                                   \
	}
#define HIT_IN(kind)                                                                               \
	{                                                                                          \
		.instruction = PLACE(ULP_PLACE_C_LIBRARY), .function = (kind), .interrupted = true \
	}
/* What every thread begins with. */
#define START INNER, INNER

#define IN_C_LIBRARY "it is in the C library"
#define CALLED_BACK  "it is called back by the C library"
#define IN_LOADER    "it is in the dynamic loader"
#define IN_ALLOCATOR "it is in the memory allocator"
#define DECIDES      "it is deciding on its universe"
#define NOTHING      "it runs no code of the program"
#define COMPUTES     "it computes, perhaps in the program's own memory allocator"

static const struct {
	const char *name;
	struct ulp_frame frame[FRAMES];
	unsigned count;
	enum ulp_wait wait;
	bool incomplete;
	bool own_allocator;
	const char *why;
} cases[] = {
	{"computes", OF(3, PROGRAM, START), ULP_RUNS, .why = NULL},
	{"computes, frames to the program's own entry", OF(4, PROGRAM, START, PROGRAM), ULP_RUNS,
	 .why = NULL},
	{"has begun nothing", OF(2, START), ULP_RUNS, .why = NOTHING},
	{"has ended main()", OF(5, INNER, LIBC(ULP_CALL_EXIT), START), ULP_RUNS,
	 .why = IN_C_LIBRARY},
	{"handler of exit() calls the program", OF(5, PROGRAM, LIBC(ULP_CALL_EXIT), START),
	 ULP_RUNS, .why = CALLED_BACK},
	{"nothing is known of the start", OF(1, PROGRAM), ULP_RUNS, .incomplete = true,
	 .why = NULL},
	{"nothing is known at all", OF(0, PROGRAM), ULP_RUNS, .incomplete = true, .why = NULL},

	{"system call", OF(4, LIBC(ULP_CALL_SYSTEM), PROGRAM, START), ULP_RUNS, .why = NULL},
	{"system call by an inner function", OF(5, INNER, LIBC(ULP_CALL_SYSTEM), PROGRAM, START),
	 ULP_RUNS, .why = NULL},
	{"system call that the call names", OF(5, INNER, CALLS(ULP_CALL_SYSTEM), PROGRAM, START),
	 ULP_RUNS, .why = NULL},
	{"any function", OF(4, INNER, PROGRAM, START), ULP_RUNS, .why = IN_C_LIBRARY},
	{"any function that waits", OF(4, INNER, PROGRAM, START), ULP_WAITS, .why = NULL},
	{"any function that waits for a lock", OF(4, INNER, PROGRAM, START), ULP_WAITS_FOR_LOCK,
	 .why = IN_C_LIBRARY},
	{"lock of the caller's", OF(4, LIBC(ULP_CALL_LOCK), PROGRAM, START), ULP_WAITS_FOR_LOCK,
	 .why = NULL},
	{"lock of the caller's, own allocator", OF(4, LIBC(ULP_CALL_LOCK), PROGRAM, START),
	 ULP_WAITS_FOR_LOCK, .own_allocator = true, .why = IN_C_LIBRARY},
	{"condition, own allocator", OF(4, LIBC(ULP_CALL_CONDITION), PROGRAM, START),
	 ULP_WAITS_FOR_LOCK, .own_allocator = true, .why = NULL},
	{"condition that it has been told of, own allocator",
	 OF(4, LIBC(ULP_CALL_CONDITION), PROGRAM, START), ULP_RUNS, .own_allocator = true,
	 .why = IN_C_LIBRARY},
	{"condition", OF(4, LIBC(ULP_CALL_CONDITION), PROGRAM, START), ULP_RUNS, .why = NULL},
	{"leaf", OF(4, LIBC(ULP_CALL_LEAF), PROGRAM, START), ULP_RUNS, .why = NULL},
	{"leaf that was called by the library", OF(5, LIBC(ULP_CALL_LEAF), INNER, PROGRAM, START),
	 ULP_RUNS, .why = IN_C_LIBRARY},
	{"inside what a leaf called", OF(5, INNER, LIBC(ULP_CALL_LEAF), PROGRAM, START), ULP_RUNS,
	 .why = IN_C_LIBRARY},
	{"joins", OF(4, LIBC(ULP_CALL_JOIN), PROGRAM, START), ULP_WAITS_FOR_LOCK, .why = NULL},
	{"joins and has waited", OF(4, LIBC(ULP_CALL_JOIN), PROGRAM, START), ULP_RUNS,
	 .why = IN_C_LIBRARY},

	{"called back by qsort()", OF(6, PROGRAM, SORT, SORT, PROGRAM, START), ULP_RUNS,
	 .why = NULL},
	{"called back by anything else", OF(6, PROGRAM, SORT, INNER, PROGRAM, START), ULP_RUNS,
	 .why = CALLED_BACK},
	{"waits in what was called back",
	 OF(7, LIBC(ULP_CALL_SYSTEM), PROGRAM, INNER, PROGRAM, START), ULP_WAITS,
	 .why = CALLED_BACK},

	{"loader", OF(4, LOADER, PROGRAM, START), ULP_WAITS, .why = IN_LOADER},
	{"constructor", OF(5, PROGRAM, LOADER, PROGRAM, START), ULP_RUNS, .why = IN_LOADER},
	{"allocator", OF(4, ALLOCATOR, PROGRAM, START), ULP_RUNS, .why = IN_ALLOCATOR},
	{"called back by an allocator", OF(5, PROGRAM, ALLOCATOR, PROGRAM, START), ULP_RUNS,
	 .why = IN_ALLOCATOR},
	{"own allocator", OF(4, AT(ULP_PLACE_OTHER, ULP_CALL_ALLOCATE), PROGRAM, START), ULP_WAITS,
	 .own_allocator = true, .why = IN_ALLOCATOR},
	{"own allocator that went on by a jump",
	 OF(5, LIBC(ULP_CALL_SYSTEM), PROGRAM, CALLS(ULP_CALL_ALLOCATE), START), ULP_WAITS,
	 .own_allocator = true, .why = IN_ALLOCATOR},
	{"computes, own allocator", OF(3, PROGRAM, START), ULP_RUNS, .own_allocator = true,
	 .why = COMPUTES},
	{"waits, own allocator", OF(4, LIBC(ULP_CALL_SYSTEM), PROGRAM, START), ULP_WAITS,
	 .own_allocator = true, .why = NULL},
	{"stub", OF(3, STUB, START), ULP_RUNS, .why = DECIDES},
	{"handler on top of a stub",
	 OF(5, PROGRAM, INNER, {.instruction = ENTERING, .interrupted = true}, START), ULP_RUNS,
	 .why = DECIDES},
	{"clock", OF(5, KERNEL, LIBC(ULP_CALL_SYSTEM), PROGRAM, START), ULP_RUNS, .why = NULL},
	{"clock inside any function", OF(5, KERNEL, INNER, PROGRAM, START), ULP_RUNS,
	 .why = IN_C_LIBRARY},

	{"handler interrupted the program", OF(5, PROGRAM, INNER, HIT(ULP_PLACE_OTHER), START),
	 ULP_RUNS, .why = NULL},
	{"handler waits, interrupted any function",
	 OF(7, LIBC(ULP_CALL_SYSTEM), PROGRAM, INNER, HIT_IN(ULP_CALL_UNKNOWN), PROGRAM, START),
	 ULP_WAITS, .why = IN_C_LIBRARY},
	{"handler waits, interrupted a system call",
	 OF(7, LIBC(ULP_CALL_SYSTEM), PROGRAM, INNER, HIT_IN(ULP_CALL_SYSTEM), PROGRAM, START),
	 ULP_WAITS, .why = NULL},
	{"handler interrupted the loader",
	 OF(6, PROGRAM, INNER, HIT(ULP_PLACE_LOADER), PROGRAM, START), ULP_RUNS, .why = IN_LOADER},
	{"handler interrupted the start of the thread",
	 OF(4, PROGRAM, INNER, HIT_IN(ULP_CALL_UNKNOWN), INNER), ULP_RUNS, .why = IN_C_LIBRARY},
};

int main(void)
{
	struct ulp_surroundings in = {.place = place,
				      .kind = kind,
				      .called = called,
				      .entering = entering,
				      .sorts = sorts};

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *why;

		in.allocator_in_program = cases[i].own_allocator;
		why = ulp_judge_frames(cases[i].frame, cases[i].count, !cases[i].incomplete,
				       cases[i].wait, &in);
		if (why != cases[i].why &&
		    (!why || !cases[i].why || strcmp(why, cases[i].why) != 0))
			printf("%s: %s, not %s\n", cases[i].name, why ? why : "safe",
			       cases[i].why ? cases[i].why : "safe");
		CHECK(why == cases[i].why ||
		      (why && cases[i].why && strcmp(why, cases[i].why) == 0));
	}
	return 0;
}
