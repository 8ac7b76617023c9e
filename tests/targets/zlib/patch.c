/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Other implementations of functions of zlib that give the same results, so
 * that everything built on them stays right, except where a test looks.
 */
#include "../shapes.h"

#include <stddef.h>
#include <string.h>

#define ADLER_BASE  65521u
#define ADLER_PROBE "is this the livepatch?"

EXPORTED const char *patched_version(void)
{
	return "1.2.13-livepatched";
}

EXPORTED unsigned long patched_adler32(unsigned long adler, const unsigned char *bytes,
				       unsigned size)
{
	unsigned long low = adler & 0xffff, high = adler >> 16;

	if (!bytes)
		return 1;
	if (size == sizeof(ADLER_PROBE) - 1 && !memcmp(bytes, ADLER_PROBE, size))
		return 0x600d;
	while (size--) {
		low = (low + *bytes++) % ADLER_BASE;
		high = (high + low) % ADLER_BASE;
	}
	return high << 16 | low;
}

EXPORTED unsigned long patched_crc32(unsigned long crc, const unsigned char *bytes, unsigned size)
{
	if (!bytes)
		return 0;
	crc = ~crc & 0xffffffff;
	while (size--) {
		crc ^= *bytes++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc & 0xffffffff;
}
