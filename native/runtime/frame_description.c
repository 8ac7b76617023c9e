/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/frame_description.h"

/* DW_EH_PE_*: the low four bits say how long a pointer is, the next three what it is relative to. */
#define LENGTH_OF   0x0f
#define ABSOLUTE    0x00
#define ULEB        0x01
#define UNSIGNED_2  0x02
#define UNSIGNED_4  0x03
#define UNSIGNED_8  0x04
#define SLEB        0x09
#define SIGNED_2    0x0a
#define SIGNED_4    0x0b
#define SIGNED_8    0x0c
#define RELATIVE_TO 0x70
#define TO_PLACE    0x10
#define INDIRECT    0x80
#define OMITTED     0xff

/* What every linker writes: pairs of 4-byte distances from the start of .eh_frame_hdr, sorted. */
#define SORTED_TABLE 0x3b

/* Entries of .eh_frame that are looked at where there is no such table. */
#define MOST_ENTRIES 65536

uint64_t ulp_bytes_long_uleb(struct ulp_bytes *bytes)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = (uint8_t)ulp_bytes_fixed(bytes, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	return value;
}

int64_t ulp_bytes_long_sleb(struct ulp_bytes *bytes)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = (uint8_t)ulp_bytes_fixed(bytes, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	if (shift < 64 && byte & 0x40)
		value |= ~0ull << shift;
	return (int64_t)value;
}

uint64_t ulp_bytes_pointer(struct ulp_bytes *bytes, uint8_t encoding)
{
	uint64_t place = (uint64_t)bytes->at, value;

	switch (encoding & LENGTH_OF) {
	case ABSOLUTE:
	case UNSIGNED_8:
	case SIGNED_8:
		value = ulp_bytes_fixed(bytes, 8);
		break;
	case UNSIGNED_4:
		value = ulp_bytes_fixed(bytes, 4);
		break;
	case SIGNED_4:
		value = (uint64_t)(int64_t)(int32_t)ulp_bytes_fixed(bytes, 4);
		break;
	case UNSIGNED_2:
		value = ulp_bytes_fixed(bytes, 2);
		break;
	case SIGNED_2:
		value = (uint64_t)(int64_t)(int16_t)ulp_bytes_fixed(bytes, 2);
		break;
	case ULEB:
		value = ulp_bytes_uleb(bytes);
		break;
	case SLEB:
		value = (uint64_t)ulp_bytes_sleb(bytes);
		break;
	default:
		bytes->over = true;
		return 0;
	}
	switch (encoding & (RELATIVE_TO | INDIRECT)) {
	case 0:
		return value;
	case TO_PLACE:
		return place + value;
	default:
		bytes->over = true;
		return 0;
	}
}

struct ulp_bytes ulp_bytes_part(struct ulp_bytes *bytes, uint64_t size)
{
	struct ulp_bytes part = {bytes->at, bytes->at, false};

	if ((uint64_t)(bytes->end - bytes->at) < size) {
		bytes->over = true;
		return part;
	}
	bytes->at += size;
	part.end = bytes->at;
	return part;
}

struct ulp_bytes ulp_bytes_at(const struct ulp_image *image, uint64_t address)
{
	uint64_t end = ulp_image_readable_to(image, address);

	return (struct ulp_bytes){(const unsigned char *)address,
				  (const unsigned char *)(end ? end : address), end == 0};
}

/* An entry without its length; `over` is set at the terminator, and where it makes no sense. */
static struct ulp_bytes next_entry(struct ulp_bytes *table)
{
	uint64_t length = ulp_bytes_fixed(table, 4);

	if (length == 0xffffffff)
		length = ulp_bytes_fixed(table, 8);
	if (length == 0)
		table->over = true;
	return ulp_bytes_part(table, length);
}

/* Common information: what many functions share. `address` is that of its length. */
static bool read_common(const struct ulp_image *image, uint64_t address,
			struct ulp_frame_description *description, bool *augmented)
{
	struct ulp_bytes table = ulp_bytes_at(image, address), entry = next_entry(&table), data;
	const char *augmentation;
	uint64_t version;

	if (table.over || ulp_bytes_fixed(&entry, 4) != 0)
		return false;
	version = ulp_bytes_fixed(&entry, 1);
	augmentation = (const char *)entry.at;
	while (ulp_bytes_fixed(&entry, 1) && !entry.over)
		;
	if (entry.over || (version != 1 && version != 3))
		return false;
	description->code_factor = ulp_bytes_uleb(&entry);
	description->data_factor = ulp_bytes_sleb(&entry);
	description->return_column =
		version == 1 ? ulp_bytes_fixed(&entry, 1) : ulp_bytes_uleb(&entry);
	description->encoding = ABSOLUTE;
	description->signal = false;
	*augmented = *augmentation == 'z';
	description->common = entry;
	if (!*augmentation)
		return !entry.over;
	if (!*augmented)
		return false;
	data = ulp_bytes_part(&entry, ulp_bytes_uleb(&entry));
	description->common = entry;
	while (*++augmentation) {
		uint8_t encoding;

		switch (*augmentation) {
		case 'R':
			description->encoding = (uint8_t)ulp_bytes_fixed(&data, 1);
			break;
		case 'L':
			ulp_bytes_fixed(&data, 1);
			break;
		case 'P':
			/* Whose pointer it is does not matter, nor what that leads to. */
			encoding = (uint8_t)ulp_bytes_fixed(&data, 1);
			if (encoding != OMITTED)
				ulp_bytes_pointer(&data, encoding & LENGTH_OF);
			break;
		case 'S':
			description->signal = true;
			break;
		default:
			/* What follows can't be told; the size of all of it was said before. */
			return !entry.over;
		}
	}
	return !entry.over && !data.over;
}

/* The description at `address`, that of its length; false if it is none, or not of `instruction`. */
static bool read_function(const struct ulp_image *image, uint64_t address, uint64_t instruction,
			  struct ulp_frame_description *description)
{
	struct ulp_bytes table = ulp_bytes_at(image, address), entry = next_entry(&table);
	uint64_t place = (uint64_t)entry.at, distance = ulp_bytes_fixed(&entry, 4);
	bool augmented;

	if (table.over || !distance ||
	    !read_common(image, place - distance, description, &augmented))
		return false;
	description->start = ulp_bytes_pointer(&entry, description->encoding);
	description->size = ulp_bytes_pointer(&entry, description->encoding & LENGTH_OF);
	if (augmented)
		ulp_bytes_part(&entry, ulp_bytes_uleb(&entry));
	description->function = entry;
	return !entry.over && instruction >= description->start &&
	       instruction - description->start < description->size;
}

struct row {
	int32_t start;
	int32_t description;
};

static uint64_t find_by_table(const struct row *rows, uint64_t count, uint64_t base,
			      uint64_t instruction)
{
	int64_t wanted = (int64_t)(instruction - base);
	uint64_t low = 0, high = count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (rows[middle].start <= wanted)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? base + (uint64_t)(int64_t)rows[low - 1].description : 0;
}

static bool find_one_by_one(const struct ulp_image *image, uint64_t frames, uint64_t instruction,
			    struct ulp_frame_description *description)
{
	struct ulp_bytes table = ulp_bytes_at(image, frames);

	for (unsigned i = 0; i < MOST_ENTRIES && !table.over; i++) {
		uint64_t address = (uint64_t)table.at;

		next_entry(&table);
		if (!table.over && read_function(image, address, instruction, description))
			return true;
	}
	return false;
}

bool ulp_frame_describe(const struct ulp_image *image, uint64_t address,
			struct ulp_frame_description *description)
{
	struct ulp_bytes header;
	uint8_t encoding[3];
	uint64_t frames, count, found;

	if (!image->frame_table)
		return false;
	header = ulp_bytes_at(image, image->frame_table);
	if (ulp_bytes_fixed(&header, 1) != 1)
		return false;
	for (unsigned i = 0; i < 3; i++)
		encoding[i] = (uint8_t)ulp_bytes_fixed(&header, 1);
	frames = ulp_bytes_pointer(&header, encoding[0]);
	if (encoding[1] == OMITTED || encoding[2] != SORTED_TABLE)
		return !header.over && find_one_by_one(image, frames, address, description);
	count = ulp_bytes_pointer(&header, encoding[1]);
	if (header.over || (uint64_t)header.at % sizeof(int32_t) != 0 ||
	    count > (uint64_t)(header.end - header.at) / sizeof(struct row))
		return false;
	found = find_by_table((const struct row *)header.at, count, image->frame_table, address);
	return found && read_function(image, found, address, description);
}
