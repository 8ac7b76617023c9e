/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include "system_call.h"
#include "runtime/clock.h"
#include "runtime/image_table.h"

/*
 * The kernel's own code, mapped into every process, tells the time without a system call (vdso(7)):
 * a sandboxed thread may not be allowed to ask.
 */
static int (*clock_in_vdso)(int clock, struct timespec *now);

void ulp_clock_learn(void)
{
	uint64_t header = ulp_auxiliary(AT_SYSINFO_EHDR);
	struct ulp_image vdso;

	if (header && ulp_image_describe_at(&vdso, header))
		clock_in_vdso = (int (*)(int, struct timespec *))ulp_image_function(
			&vdso, "__vdso_clock_gettime");
}

uint64_t ulp_clock_ns(int clock)
{
	struct timespec now = {0, 0};

	if (!clock_in_vdso || clock_in_vdso(clock, &now) != 0)
		ulp_system_call(SYS_clock_gettime, clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
