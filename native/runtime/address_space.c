/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

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
