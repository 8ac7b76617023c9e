/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <unwind.h>

#include "runtime/stack.h"

/* Set by the loader: the address behind the last word of the main thread's stack. */
extern void *__libc_stack_end;

/*
 * The kernel leaves at least 128 MiB below the main stack's top free of mappings
 * that it places itself, so what lies this near below the top is that stack.
 */
#define MAIN_STACK_REACH (64ull << 20)

struct walk {
	ulp_frame_visitor *visit;
	void *argument;
	bool at_end;
};

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *argument)
{
	struct walk *walk = argument;
	int interrupted = 0;
	struct ulp_frame frame = {
	    .instruction = _Unwind_GetIPInfo(context, &interrupted),
	    .cfa_of_callee = _Unwind_GetCFA(context),
	};

	if (frame.instruction == 0) {
		walk->at_end = true;
		return _URC_NORMAL_STOP;
	}
	frame.function = _Unwind_GetRegionStart(context);
	frame.interrupted = interrupted;
	return walk->visit(&frame, walk->argument) ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

bool ulp_stack_walk(ulp_frame_visitor *visit, void *argument)
{
	struct walk walk = {.visit = visit, .argument = argument};

	_Unwind_Backtrace(step, &walk);
	return walk.at_end;
}

bool ulp_stack_scan(uint64_t from, bool (*visit)(uint64_t word, void *argument), void *argument)
{
	uint64_t end = (uint64_t)__libc_stack_end;

	if (from >= end || end - from > MAIN_STACK_REACH)
		return false;
	for (uint64_t at = from & ~7ull; at < end; at += 8)
		if (!visit(*(const volatile uint64_t *)at, argument))
			break;
	return true;
}
