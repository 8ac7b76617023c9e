/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/descriptor.h"

struct ulp_descriptor ulp_descriptor_of(int number)
{
	struct stat found;

	if (number < 0)
		return (struct ulp_descriptor){.number = -1};
	if (fstat(number, &found) != 0) {
		close(number);
		return (struct ulp_descriptor){.number = -1};
	}
	return (struct ulp_descriptor){
		.number = number, .device = found.st_dev, .inode = found.st_ino};
}

bool ulp_descriptor_is_ours(const struct ulp_descriptor *descriptor)
{
	struct stat found;

	return descriptor->number >= 0 && fstat(descriptor->number, &found) == 0 &&
	       found.st_dev == descriptor->device && found.st_ino == descriptor->inode;
}

void ulp_descriptor_close(struct ulp_descriptor *descriptor)
{
	if (ulp_descriptor_is_ours(descriptor))
		close(descriptor->number);
	descriptor->number = -1;
}
