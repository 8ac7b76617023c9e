/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/address_space.h"
#include "runtime/stack.h"
#include "runtime/unwind.h"

/*
 * The kernel leaves at least 128 MiB below the main stack's top free of mappings
 * that it places itself, so what lies this near below the top is that stack.
 */
#define MAIN_STACK_REACH (64ull << 20)

/* Each page is asked for by a system call, so that deeper stacks are not worth it. */
#define THREAD_STACK_REACH (16ull << 20)

/* What the C library gives a thread if there is no limit. */
#define UNLIMITED_STACK (2ull << 20)

/*
 * 0: not known yet.  Whoever loads the runtime into a running process does so on another thread, so
 * the main one is known by its stack, when it comes by.
 */
static uint64_t main_thread_pointer;
static uint64_t main_stack_end;
static uint64_t stack_size; /* of threads that ask for no other */

static bool on_main_stack(uint64_t address)
{
	return address < main_stack_end && main_stack_end - address <= MAIN_STACK_REACH;
}

/* Also of a child, whose one thread was perhaps another in the parent.  0: it has not come by. */
static uint64_t main_thread_by_stack(uint64_t own)
{
	uint64_t known = 0;

	if (!__atomic_load_n(&main_thread_pointer, __ATOMIC_RELAXED) &&
	    on_main_stack((uint64_t)__builtin_frame_address(0)))
		__atomic_compare_exchange_n(&main_thread_pointer, &known, own, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return __atomic_load_n(&main_thread_pointer, __ATOMIC_RELAXED);
}

void ulp_stack_learn(char **argv)
{
	struct rlimit limit;

	/* Below the arguments is their number, at which the process begins (psABI, 3.4.1). */
	main_stack_end = (uint64_t)(argv - 1);
	stack_size = ulp_system_call(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &limit) != 0 ||
				     limit.rlim_cur == RLIM_INFINITY
			     ? UNLIMITED_STACK
			     : limit.rlim_cur;
	main_thread_by_stack(ulp_thread_pointer());
}

bool ulp_stack_walk(ulp_frame_visitor *visit, void *argument)
{
	struct ulp_unwinder unwinder;

	ulp_unwind_start(unwinder.registers);
	ulp_unwind_begin(&unwinder);
	do {
		const struct ulp_frame frame = {
			.instruction = unwinder.registers[ULP_UNWIND_RETURN_ADDRESS],
			.cfa_of_callee = unwinder.cfa_of_callee,
			.function = unwinder.described ? unwinder.description.start : 0,
			.interrupted = unwinder.interrupted,
		};

		if (frame.instruction == 0)
			return true;
		if (!visit(&frame, argument))
			return false;
	} while (ulp_unwind_step(&unwinder));
	return false;
}

/* The end of the stack that `from` lies on, or 0. */
static uint64_t end_of_stack(uint64_t from)
{
	/* The C library puts a thread's control block at the upper end of its stack. */
	uint64_t thread_end = ulp_thread_pointer();

	if (on_main_stack(from))
		return main_stack_end;
	if (from < thread_end && thread_end - from <= THREAD_STACK_REACH &&
	    ulp_readable(from, thread_end - from))
		return thread_end;
	return 0;
}

/* On an alternate stack, the frames that a signal interrupted lie elsewhere. */
static bool on_alternate_stack(void)
{
	stack_t alternate;

	return ulp_system_call(SYS_sigaltstack, NULL, &alternate) != 0 ||
	       alternate.ss_flags & SS_ONSTACK;
}

/* All words, those between the variables of other frames too. */
__attribute__((no_sanitize("address"))) bool
ulp_stack_scan(uint64_t from, bool (*visit)(uint64_t word, void *argument), void *argument)
{
	uint64_t end = on_alternate_stack() ? 0 : end_of_stack(from);

	for (uint64_t at = from & ~7ull; at < end; at += 8)
		if (!visit(*(const volatile uint64_t *)at, argument))
			break;
	return end != 0;
}

/* Where stacks that somebody else made lie cannot be asked for: a sandboxed thread may come by. */
uint64_t ulp_stack_known_end(uint64_t address)
{
	uint64_t own = ulp_thread_pointer(), main_thread = main_thread_by_stack(own);

	if (own == main_thread)
		return on_main_stack(address) ? main_stack_end : 0;
	if (address >= own || own - address > stack_size)
		return 0;
	/* Of the main thread, while it is not known and on another stack, this would not be true. */
	return main_thread || ulp_readable(address, own - address) ? own : 0;
}

/* A stack pointer may lie right behind the last word. */
static bool on_own_stack(uint64_t address)
{
	return ulp_stack_known_end(address - 1) != 0;
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
