/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * File descriptors that the runtime opens in a process whose program knows nothing of them: it
 * may close any number at any time, and have a file of its own under that number then.
 */
#ifndef ULP_DESCRIPTOR_H
#define ULP_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

struct ulp_descriptor {
	int number; /* -1: none */
	dev_t device;
	ino_t inode;
};

/* `number` has just been opened, or is -1. What cannot be told from others is closed again. */
struct ulp_descriptor ulp_descriptor_of(int number);

/* Whether the number still stands for the file that was opened under it. */
bool ulp_descriptor_is_ours(const struct ulp_descriptor *descriptor);

/* Closes it, if it is ours. */
void ulp_descriptor_close(struct ulp_descriptor *descriptor);

#endif
