/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checksum is zlib's crc32(): the published check value, and two more. */
#include <stdio.h>

#include "runtime/checksum.h"

int main(void)
{
	unsigned char zeros[4096] = {0};

	if (ulp_checksum("123456789", 9) != 0xcbf43926u || ulp_checksum("", 0) != 0 ||
	    ulp_checksum(zeros, sizeof zeros) != 0xc71c0011u) {
		fprintf(stderr, "%x\n", ulp_checksum(zeros, sizeof zeros));
		return 1;
	}
	return 0;
}
