/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>
#include <sys/syscall.h>

#include "system_call.h"
#include "runtime/descriptor.h"

static bool describe(int number, struct stat *found)
{
	return ulp_system_call(SYS_fstat, number, found) == 0;
}

static void close_number(int number)
{
	ulp_system_call(SYS_close, number);
}

struct ulp_descriptor ulp_descriptor_of(int number)
{
	struct stat found;

	if (number < 0)
		return (struct ulp_descriptor){.number = -1};
	if (!describe(number, &found)) {
		close_number(number);
		return (struct ulp_descriptor){.number = -1};
	}
	return (struct ulp_descriptor){
		.number = number, .device = found.st_dev, .inode = found.st_ino};
}

bool ulp_descriptor_is_ours(const struct ulp_descriptor *descriptor)
{
	struct stat found;

	return descriptor->number >= 0 && describe(descriptor->number, &found) &&
	       found.st_dev == descriptor->device && found.st_ino == descriptor->inode;
}

void ulp_descriptor_close(struct ulp_descriptor *descriptor)
{
	if (ulp_descriptor_is_ours(descriptor))
		close_number(descriptor->number);
	descriptor->number = -1;
}
