/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/checksum.h"

uint32_t ulp_checksum(const void *data, size_t size)
{
	/* The remainder of each half of a byte. */
	static const uint32_t remainders[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	const unsigned char *byte = data;
	uint32_t remainder = ~0u;

	for (size_t i = 0; i < size; i++) {
		remainder ^= byte[i];
		remainder = (remainder >> 4) ^ remainders[remainder & 15];
		remainder = (remainder >> 4) ^ remainders[remainder & 15];
	}
	return ~remainder;
}
