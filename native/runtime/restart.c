/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw system calls: the C library keeps two signals of its own out of a mask, and
 * this code must leave the mask exactly as it was.
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/x86_64/arch.h"
#include "runtime/restart.h"

/* Kernel-internal errors, from the kernel's include/linux/errno.h. */
#define ERESTARTSYS    512
#define ERESTARTNOINTR 513

/*
 * Signal 33 stays: with it the C library makes every thread take part in setuid() and its
 * kin, which wait, with a lock held that starting a thread needs.
 */
#define SETXID_BIT (1ull << 32)

#define MASK_SIZE 8 /* bytes in the kernel's signal mask */

/* Words at the upper end of an alternate stack, where a signal frame begins. */
#define WATCHED_WORDS 128

/* struct sigaction as rt_sigaction(2) has it on x86-64 */
struct kernel_action {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

void ulp_restart_block_signals(void)
{
	uint64_t all = ~SETXID_BIT;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, MASK_SIZE);
}

static bool ends_call(int signal_number, uint64_t interrupted)
{
	struct kernel_action action;

	if (syscall(SYS_rt_sigaction, signal_number, NULL, &action, MASK_SIZE) != 0)
		return false;
	if (action.handler == (uint64_t)SIG_DFL || action.handler == (uint64_t)SIG_IGN)
		return false;
	return interrupted != ERESTARTSYS || !(action.flags & SA_RESTART);
}

static bool pending_signal_ends_call(const struct ulp_block *block)
{
	uint64_t pending = 0;

	if (syscall(SYS_rt_sigpending, &pending, MASK_SIZE) != 0)
		return false;
	pending &= ~(block->signal_mask | SETXID_BIT);
	for (int signal_number = 1; signal_number <= 64; signal_number++)
		if (pending >> (signal_number - 1) & 1 &&
		    ends_call(signal_number, block->interrupted))
			return true;
	return false;
}

/* Any handler that may have run would have ended the call. */
static bool any_handler_ends_call(const struct ulp_block *block)
{
	for (int signal_number = 1; signal_number <= 64; signal_number++)
		if (!(((block->signal_mask | SETXID_BIT) >> (signal_number - 1)) & 1) &&
		    ends_call(signal_number, block->interrupted))
			return true;
	return false;
}

/*
 * Puts the mask back and says whether a handler ran on the way.  A signal that comes after
 * the last look at the pending ones would be handled here, and the call made again as if it
 * had not come.  A handler's frame overwrites what was below the stack pointer: on this
 * stack ulp_unmask looks, on an alternate one this function does.
 */
static bool unmask_and_watch(const struct ulp_block *block)
{
	uint64_t before[WATCHED_WORDS], *top = NULL;
	stack_t alternate;
	bool handled;

	if (syscall(SYS_sigaltstack, NULL, &alternate) == 0 &&
	    !(alternate.ss_flags & (SS_DISABLE | SS_ONSTACK)) &&
	    alternate.ss_size >= sizeof before) {
		top = (uint64_t *)((((uint64_t)alternate.ss_sp + alternate.ss_size) & ~7ull) -
				   sizeof before);
		for (unsigned i = 0; i < WATCHED_WORDS; i++) {
			before[i] = top[i];
			top[i] = ULP_UNMASK_PATTERN;
		}
	}
	handled = ulp_unmask(&block->signal_mask);
	for (unsigned i = 0; top && !handled && i < WATCHED_WORDS; i++)
		handled = top[i] != ULP_UNMASK_PATTERN;
	for (unsigned i = 0; top && !handled && i < WATCHED_WORDS; i++)
		top[i] = before[i];
	return handled;
}

void ulp_restart_settle(struct ulp_block *block)
{
	bool ended = block->interrupted && block->interrupted != ERESTARTNOINTR &&
		     pending_signal_ends_call(block);

	if (!block->interrupted || block->interrupted == ERESTARTNOINTR || ended)
		ulp_unmask(&block->signal_mask);
	else
		ended = unmask_and_watch(block) && any_handler_ends_call(block);
	if (ended)
		ulp_registers_fail_with_eintr(block->registers);
}
