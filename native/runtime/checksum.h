/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef ULP_CHECKSUM_H
#define ULP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 with the polynomial of IEEE 802.3, as zlib's crc32(). */
uint32_t ulp_checksum(const void *data, size_t size);

#endif
