/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the description of a frame in an image: .eh_frame_hdr and .eh_frame (LSB Core, chapter 10.6). */
#ifndef ULP_FRAME_DESCRIPTION_H
#define ULP_FRAME_DESCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/image.h"

/* Bytes that are read one after the other, and never past `end`. */
struct ulp_bytes {
	const unsigned char *at;
	const unsigned char *end;
	bool over; /* more was asked for than there is; what was read since is 0 */
};

/* From `address` to the end of what can be read there; none, and `over`, where nothing can. */
struct ulp_bytes ulp_bytes_at(const struct ulp_image *image, uint64_t address);

/* A number of 1, 2, 4 or 8 bytes. Inlined, as the next two: a walk spends most of its time here. */
static inline uint64_t ulp_bytes_fixed(struct ulp_bytes *bytes, unsigned size)
{
	uint64_t value = 0;

	if (__builtin_expect((uint64_t)(bytes->end - bytes->at) < size, 0)) {
		bytes->over = true;
		return 0;
	}
	__builtin_memcpy(&value, bytes->at, size);
	bytes->at += size;
	return value;
}

uint64_t ulp_bytes_long_uleb(struct ulp_bytes *bytes);
int64_t ulp_bytes_long_sleb(struct ulp_bytes *bytes);

/* Numbers of variable length; nearly all have one byte. */
static inline uint64_t ulp_bytes_uleb(struct ulp_bytes *bytes)
{
	if (bytes->at < bytes->end && *bytes->at < 0x80)
		return *bytes->at++;
	return ulp_bytes_long_uleb(bytes);
}

static inline int64_t ulp_bytes_sleb(struct ulp_bytes *bytes)
{
	if (bytes->at < bytes->end && *bytes->at < 0x40)
		return *bytes->at++;
	return ulp_bytes_long_sleb(bytes);
}

/* A pointer in one of the encodings DW_EH_PE_*; `over` is set for those that nobody uses. */
uint64_t ulp_bytes_pointer(struct ulp_bytes *bytes, uint8_t encoding);
/* The next `size` bytes, which are skipped. */
struct ulp_bytes ulp_bytes_part(struct ulp_bytes *bytes, uint64_t size);

struct ulp_frame_description {
	uint64_t start; /* of the function */
	uint64_t size;
	struct ulp_bytes common;   /* the instructions that come first */
	struct ulp_bytes function; /* and those of this function */
	uint64_t code_factor;
	int64_t data_factor;
	uint64_t return_column;
	uint8_t encoding; /* of pointers */
	bool signal;      /* the frame below was interrupted, it has not called */
};

/* Returns false if the image has no description for `address`, or one that makes no sense. */
bool ulp_frame_describe(const struct ulp_image *image, uint64_t address,
			struct ulp_frame_description *description);

#endif
