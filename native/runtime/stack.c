/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include "arch/x86_64/arch.h"
#include "runtime/stack.h"

/* Set by the loader: the address behind the last word of the main thread's stack. */
extern void *__libc_stack_end;

/*
 * The kernel leaves at least 128 MiB below the main stack's top free of mappings
 * that it places itself, so what lies this near below the top is that stack.
 */
#define MAIN_STACK_REACH (64ull << 20)

/* Each page is asked for by a system call, so that deeper stacks are not worth it. */
#define THREAD_STACK_REACH (16ull << 20)
#define PAGE               4096ull

/* What the C library gives a thread if there is no limit. */
#define UNLIMITED_STACK (2ull << 20)

static uint64_t main_thread_pointer;
static uint64_t stack_size; /* of threads that ask for no other */

void ulp_stack_learn(void)
{
	struct rlimit limit;

	main_thread_pointer = ulp_thread_pointer();
	stack_size = getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY
			     ? UNLIMITED_STACK
			     : limit.rlim_cur;
}

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

/*
 * rt_sigprocmask reads the mask before it looks at what is to be done with it, so with a
 * senseless order it does nothing but say whether memory can be read.  Of all calls that
 * could, this is the one that a sandboxed thread is least likely to be denied.
 */
static bool readable(uint64_t address)
{
	return syscall(SYS_rt_sigprocmask, ~0, address, NULL, 8) != 0 && errno == EINVAL;
}

/* Without a gap: a stack that lies elsewhere has at least its guard page in between. */
static bool all_readable(uint64_t from, uint64_t end)
{
	for (uint64_t page = from & ~(PAGE - 1); page < end; page += PAGE)
		if (!readable(page))
			return false;
	return true;
}

/* The end of the stack that `from` lies on, or 0. */
static uint64_t end_of_stack(uint64_t from)
{
	uint64_t main_end = (uint64_t)__libc_stack_end;
	/* The C library puts a thread's control block at the upper end of its stack. */
	uint64_t thread_end = ulp_thread_pointer();

	if (from < main_end && main_end - from <= MAIN_STACK_REACH)
		return main_end;
	if (from < thread_end && thread_end - from <= THREAD_STACK_REACH &&
	    all_readable(from, thread_end))
		return thread_end;
	return 0;
}

/* On an alternate stack, the frames that a signal interrupted lie elsewhere. */
static bool on_alternate_stack(void)
{
	stack_t alternate;

	return syscall(SYS_sigaltstack, NULL, &alternate) != 0 || alternate.ss_flags & SS_ONSTACK;
}

bool ulp_stack_scan(uint64_t from, bool (*visit)(uint64_t word, void *argument), void *argument)
{
	uint64_t end = on_alternate_stack() ? 0 : end_of_stack(from);

	for (uint64_t at = from & ~7ull; at < end; at += 8)
		if (!visit(*(const volatile uint64_t *)at, argument))
			break;
	return end != 0;
}

/* Where stacks that somebody else made lie cannot be asked for: a sandboxed thread may come by. */
static bool on_own_stack(uint64_t address)
{
	bool main_thread = ulp_thread_pointer() == main_thread_pointer;
	uint64_t end = main_thread ? (uint64_t)__libc_stack_end : ulp_thread_pointer();

	return address <= end && end - address <= (main_thread ? MAIN_STACK_REACH : stack_size);
}

static bool note_outermost(const struct ulp_frame *frame, void *argument)
{
	*(uint64_t *)argument = frame->cfa_of_callee;
	return true;
}

bool ulp_stack_of_coroutine(uint64_t address)
{
	uint64_t outermost = 0;

	if (on_own_stack(address))
		return false;
	/* A handler's frames end where those that it interrupted end. */
	return !ulp_stack_walk(note_outermost, &outermost) || !on_own_stack(outermost);
}
