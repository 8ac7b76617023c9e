/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the diverted thread does: hardly anything.  It claims the runtime, makes sure
 * that a thread may be started from here, starts the worker, and goes back to what
 * it did.
 */
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/address_space.h"
#include "runtime/clock.h"
#include "runtime/format.h"
#include "runtime/image_table.h"
#include "runtime/restart.h"
#include "runtime/restartable.h"
#include "runtime/safe_point.h"
#include "runtime/state.h"
#include "runtime/thread_table.h"
#include "runtime/universe.h"
#include "runtime/worker.h"

void ulp_entry(struct ulp_block *block);

/* Kernel-internal, include/linux/errno.h: the call is made again whatever signal came. */
#define ERESTARTNOINTR 513

/*
 * A child between vfork() and exec runs in its parent's memory, on the parent's thread
 * control block: what it starts would be the parent's, and would end with the child.  So
 * does a thread or process that the program made by clone() itself, past the C library:
 * the block's thread ID is that of whoever called clone().
 */
static bool borrowed_identity(void)
{
	return ulp_thread_id() != (uint64_t)ulp_system_call(SYS_gettid);
}

/*
 * One request at a time. An owner with another process ID is what a child of fork()
 * inherited from its parent, whose worker does not exist here.
 */
static bool claim(void)
{
	uint32_t self = (uint32_t)ulp_system_call(SYS_getpid);
	uint32_t owner = __atomic_load_n(&ulp_state.owner, __ATOMIC_ACQUIRE);

	return owner != self && __atomic_compare_exchange_n(&ulp_state.owner, &owner, self, false,
							    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void release(void)
{
	__atomic_store_n(&ulp_state.owner, 0, __ATOMIC_RELEASE);
}

static void refuse(struct ulp_result *result, enum ulp_error error, const char *why)
{
	ulp_format(result->detail, sizeof result->detail, "%s", why);
	ulp_result_close(result, ULP_STAGE_REFUSED, error);
}

static enum ulp_wait wait_of(const struct ulp_block *block)
{
	/* A call that the kernel makes again by itself has perhaps not begun: fork's, with all locks held. */
	if (!block->interrupted || block->interrupted == ERESTARTNOINTR)
		return ULP_RUNS;
	return ulp_registers_system_call(block->registers) == SYS_futex ? ULP_WAITS_FOR_LOCK
									: ULP_WAITS;
}

static void serve(struct ulp_block *block, struct ulp_result *result)
{
	bool may_copy = block->flags & ULP_BLOCK_MAY_COPY;
	const char *why = "";

	if (borrowed_identity()) {
		refuse(result, ULP_UNSAFE,
		       "its thread control block is another thread's: it is between vfork "
		       "and exec, or was made by clone() past the C library");
		return;
	}
	if (block->flags & ULP_BLOCK_CATCH_UP)
		ulp_universe_catch_up();
	if (!claim()) {
		if (ulp_worker_is_lost())
			refuse(result, ULP_WORKER_LOST, "");
		else
			refuse(result, ULP_BUSY, "another request is being carried out");
		return;
	}
	if (may_copy)
		ulp_copy_begins();
	ulp_images_refresh();
	if (!ulp_safe_point(block, wait_of(block), &why)) {
		release();
		refuse(result, ULP_UNSAFE, why);
		return;
	}
	if (ulp_restartable_is_denied()) {
		release();
		refuse(result, ULP_NO_THREAD,
		       "its seccomp filter denies the system call rseq, which it made before the "
		       "filter was there: the C library would end the process");
		return;
	}
	__atomic_store_n(&result->stage, ULP_STAGE_STARTED, __ATOMIC_RELEASE);
	if (!ulp_worker_start(block->nonce, may_copy, result)) {
		release();
		refuse(result, ULP_NO_THREAD, "no thread can be started");
	}
}

void ulp_entry(struct ulp_block *block)
{
	uint64_t start = ulp_clock_ns(CLOCK_MONOTONIC);
	struct ulp_result *result;

	ulp_restart_block_signals();
	result = ulp_result_open(block->nonce);
	serve(block, result);
	ulp_copy_ends();
	if (result->nonce == block->nonce)
		result->entry_ns = ulp_clock_ns(CLOCK_MONOTONIC) - start;
	ulp_restart_settle(block);
}
