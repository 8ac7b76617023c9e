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

#define MASK_SIZE 8 /* bytes in the kernel's signal mask */

/* struct sigaction as rt_sigaction(2) has it on x86-64 */
struct kernel_action {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

void ulp_restart_block_signals(void)
{
	uint64_t all = ~0ull;

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
	pending &= ~block->signal_mask;
	for (int signal_number = 1; signal_number <= 64; signal_number++)
		if (pending >> (signal_number - 1) & 1 &&
		    ends_call(signal_number, block->interrupted))
			return true;
	return false;
}

void ulp_restart_settle(struct ulp_block *block)
{
	if (block->interrupted && block->interrupted != ERESTARTNOINTR &&
	    pending_signal_ends_call(block))
		ulp_registers_fail_with_eintr(block->registers);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &block->signal_mask, NULL, MASK_SIZE);
}
