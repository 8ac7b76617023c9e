/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/checksum.h"

uint32_t ulp_checksum(const void *data, size_t size)
{
	const unsigned char *byte = data;
	uint32_t remainder = ~0u;

	for (size_t i = 0; i < size; i++) {
		remainder ^= byte[i];
		for (int bit = 0; bit < 8; bit++)
			remainder = (remainder >> 1) ^ (remainder & 1 ? 0xedb88320u : 0);
	}
	return ~remainder;
}
