/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The C library keeps two signals of its own out of a mask, and this code must leave the mask
 * exactly as it was.
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/restart.h"
#include "runtime/system_code.h"

/* Kernel-internal errors, from the kernel's include/linux/errno.h. */
#define ERESTARTSYS    512
#define ERESTARTNOINTR 513

/*
 * Signal 33 stays: with it the C library makes every thread take part in setuid() and its
 * kin, which wait, with a lock held that starting a thread needs.
 */
#define SETXID_BIT (1ull << 32)

/*
 * Signal 32 asks a thread to end at its next cancellation point.  Since glibc 2.41 its handler does so
 * only where it finds the thread in the very call, which here it does not; from there on the C
 * library looks for itself, but only if the call has failed with EINTR.
 */
#define CANCEL_SIGNAL 32

#define MASK_SIZE 8 /* bytes in the kernel's signal mask */

/* Words at the upper end of an alternate stack, where a signal frame begins. */
#define WATCHED_WORDS 32

void ulp_restart_block_signals(void)
{
	uint64_t all = ~SETXID_BIT;

	ulp_system_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, MASK_SIZE);
}

/* Signals whose handlers would have ended the interrupted call. */
struct ending {
	uint64_t signals;
	bool on_alternate_stack; /* a handler of one of them asks for it */
};

/* Not a call that the program makes by itself, and would not make again after EINTR. */
static bool cancellation_point(const struct ulp_block *block)
{
	uint64_t instruction = ulp_registers_instruction(block->registers);

	/* syscall() is no cancellation point. */
	return ulp_system_code_in_c_library(instruction) &&
	       !ulp_system_code_in_syscall(instruction);
}

static struct ending ending_signals(const struct ulp_block *block)
{
	struct ending ending = {0, false};
	struct ulp_kernel_action action;

	if (!block->interrupted || block->interrupted == ERESTARTNOINTR)
		return ending;
	for (int signal_number = 1; signal_number <= 64; signal_number++) {
		uint64_t bit = 1ull << (signal_number - 1);

		if ((block->signal_mask | SETXID_BIT) & bit ||
		    ulp_system_call(SYS_rt_sigaction, signal_number, NULL, &action, MASK_SIZE) !=
			    0 ||
		    action.handler == (uint64_t)SIG_DFL || action.handler == (uint64_t)SIG_IGN ||
		    (block->interrupted == ERESTARTSYS && action.flags & SA_RESTART &&
		     !(signal_number == CANCEL_SIGNAL && cancellation_point(block))))
			continue;
		ending.signals |= bit;
		ending.on_alternate_stack |= (action.flags & SA_ONSTACK) != 0;
	}
	return ending;
}

/* Those that are pending, and that the thread itself does not block. */
static uint64_t waiting_signals(const struct ulp_block *block)
{
	uint64_t signals = 0;

	ulp_system_call(SYS_rt_sigpending, &signals, MASK_SIZE);
	return signals & ~(block->signal_mask | SETXID_BIT);
}

/*
 * Sets the mask and says whether a handler ran on the way: of the signals that are
 * pending, another thread may take some first, and some come after a look at them.  A
 * handler's frame overwrites what was below the stack pointer: on this stack ulp_unmask
 * looks, on an alternate one this function does.
 */
static bool unmask_and_watch(const uint64_t *mask, bool alternate_stack)
{
	uint64_t before[WATCHED_WORDS], *top = NULL;
	stack_t alternate;
	bool handled;

	if (alternate_stack && ulp_system_call(SYS_sigaltstack, NULL, &alternate) == 0 &&
	    !(alternate.ss_flags & (SS_DISABLE | SS_ONSTACK)) &&
	    alternate.ss_size >= sizeof before) {
		top = (uint64_t *)((((uint64_t)alternate.ss_sp + alternate.ss_size) & ~7ull) -
				   sizeof before);
		for (unsigned i = 0; i < WATCHED_WORDS; i++) {
			before[i] = top[i];
			top[i] = ULP_UNMASK_PATTERN;
		}
	}
	handled = ulp_unmask(mask);
	for (unsigned i = 0; top && !handled && i < WATCHED_WORDS; i++)
		handled = top[i] != ULP_UNMASK_PATTERN;
	for (unsigned i = 0; top && !handled && i < WATCHED_WORDS; i++)
		top[i] = before[i];
	return handled;
}

/*
 * One after the other, the lowest first as the kernel would, so that handlers after which the
 * call is made again are not mistaken for such as end it.  Returns whether one of these ran.
 */
static bool deliver_waiting(const struct ulp_block *block, const struct ending *ending)
{
	uint64_t waiting = waiting_signals(block), tried = 0;
	bool ended = false;

	while (waiting & ~tried) {
		uint64_t bit = (waiting & ~tried) & -(waiting & ~tried);
		uint64_t all_but_it = ~(bit | SETXID_BIT);

		if (unmask_and_watch(&all_but_it, ending->on_alternate_stack))
			ended |= (bit & ending->signals) != 0;
		tried |= bit;
		waiting = waiting_signals(block);
	}
	return ended;
}

void ulp_restart_settle(struct ulp_block *block)
{
	struct ending ending = ending_signals(block);
	bool ended;

	if (!ending.signals) {
		ulp_unmask(&block->signal_mask);
		return;
	}
	ended = deliver_waiting(block, &ending);
	/* What has come since is taken for one that ends the call. */
	ended |= unmask_and_watch(&block->signal_mask, ending.on_alternate_stack);
	if (ended)
		ulp_registers_fail_with_eintr(block->registers);
}
