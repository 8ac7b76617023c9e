/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef EXTENDED_STATE_H
#define EXTENDED_STATE_H

#include <cpuid.h>
#include <stdint.h>

/* Bytes that divert() of divert.S needs for the extended state (Intel SDM volume 1, 13.2). */
static inline uint32_t extended_state_size(void)
{
	uint32_t a, b, size, d;

	__cpuid_count(0xd, 0, a, b, size, d);
	return size;
}

#endif
