/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/address_space.h"

/*
 * rt_sigprocmask reads the mask before it looks at what is to be done with it, so with a
 * senseless order it does nothing but say whether memory can be read.  Of all calls that
 * could, this is the one that a sandboxed thread is least likely to be denied.
 */
static bool word_readable(uint64_t address)
{
	return ulp_system_call(SYS_rt_sigprocmask, ~0, address, 0, 8) == -EINVAL;
}

bool ulp_readable(uint64_t start, uint64_t size)
{
	if (start + size < start)
		return false;
	for (uint64_t page = start & ~(ULP_PAGE - 1); page < start + size; page += ULP_PAGE)
		if (!word_readable(page))
			return false;
	return true;
}

/* Wakes nobody and moves nobody; but the kernel compares first, and copes with memory that is gone. */
bool ulp_holds(uint64_t address, uint32_t value)
{
	uint32_t elsewhere = 0;

	return ulp_system_call(SYS_futex, address, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, &elsewhere,
			       value) == 0;
}

/*
 * Whoever answers a request, and then the worker: the core has asked their filter.  Of other threads
 * nobody knows what their filters do by now.
 */
static struct {
	uint64_t thread; /* its thread pointer; 0: none */
	uint64_t process;
} copier;

void ulp_copy_begins(void)
{
	copier.process = (uint64_t)ulp_system_call(SYS_getpid);
	__atomic_store_n(&copier.thread, ulp_thread_pointer(), __ATOMIC_RELEASE);
}

void ulp_copy_ends(void)
{
	uint64_t own = ulp_thread_pointer();

	/* The worker may have begun by now. */
	__atomic_compare_exchange_n(&copier.thread, &own, 0, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

bool ulp_copy(void *into, uint64_t from, uint64_t size)
{
	/* A child that was forked meanwhile has these words, and maybe a thread there, but is another process. */
	if (__atomic_load_n(&copier.thread, __ATOMIC_ACQUIRE) == ulp_thread_pointer() &&
	    copier.process == (uint64_t)ulp_system_call(SYS_getpid)) {
		struct iovec here = {into, size}, there = {(void *)from, size};
		long copied = ulp_system_call(SYS_process_vm_readv, copier.process, &here, 1,
					      &there, 1, 0);

		if (copied >= 0 || copied == -EFAULT)
			return copied == (long)size;
		/* Denied, or not in this kernel. */
	}
	if (!ulp_readable(from, size))
		return false;
	memcpy(into, (const void *)from, size);
	return true;
}
