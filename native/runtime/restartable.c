/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/restartable.h"

/* Of struct rseq, linux/rseq.h: the processor, or a negative number where nothing is registered. */
#define PROCESSOR_OFFSET 4

static bool known;
static int64_t area_offset; /* of a thread's area, from its thread pointer */

/* Exported since glibc 2.35, the first that registers anything; rseq(2) has no other way to find it. */
void ulp_restartable_learn(void)
{
	const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");

	if (offset) {
		area_offset = *offset;
		known = true;
	} else {
		/* Nobody who asks for an error of their own may get this one. */
		dlerror();
	}
}

static bool is_registered(void)
{
	uint64_t area = ulp_thread_pointer() + (uint64_t)area_offset;

	return known && *(const volatile int32_t *)(area + PROCESSOR_OFFSET) >= 0;
}

bool ulp_restartable_is_denied(void)
{
	/* Without an area, the kernel calls this invalid, whether or not the thread has registered one. */
	return is_registered() && ulp_system_call(SYS_rseq, 0L, 0L, 0L, 0L) != -EINVAL;
}
