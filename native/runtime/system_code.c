/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>

#include "arch.h"
#include "runtime/blocked_calls.h"
#include "runtime/image_table.h"
#include "runtime/system_code.h"

/* Two pages, on every kernel so far. */
#define VDSO_SIZE 8192

struct range {
	uint64_t start;
	uint64_t end;
};

/* By place; empty where there is no such object, as the allocator's when it is the C library. */
static struct range whole_of_place[ULP_PLACE_ALLOCATOR + 1];
static struct range text_of_place[ULP_PLACE_ALLOCATOR + 1];

static const struct ulp_image *c_library;
static uint64_t system_call_function; /* syscall() */
static bool allocator_in_program;

static bool within(const struct range *range, uint64_t address)
{
	return address >= range->start && address < range->end;
}

struct by_name {
	const char *soname;
	const struct ulp_image *image; /* NULL: none has it */
};

static bool has_name(const struct ulp_image *image, void *argument)
{
	struct by_name *wanted = argument;

	if (!ulp_image_is_named(image, wanted->soname))
		return true;
	wanted->image = image;
	return false;
}

/* Not by what the kernel says: the loader itself may have been the program that was started. */
static const struct ulp_image *image_named(const char *soname)
{
	struct by_name wanted = {.soname = soname, .image = NULL};

	ulp_images_each(has_name, &wanted);
	return wanted.image;
}

static struct range range_of(const struct ulp_image *image)
{
	return image ? (struct range){image->start, image->end} : (struct range){0, 0};
}

/* The part of an object that is code. */
static struct range text_of(const struct ulp_image *image)
{
	struct range text = {UINT64_MAX, 0};

	for (uint32_t i = 0; image && i < image->segment_count; i++) {
		if (!(image->segment[i].flags & PF_X))
			continue;
		if (image->segment[i].start < text.start)
			text.start = image->segment[i].start;
		if (image->segment[i].end > text.end)
			text.end = image->segment[i].end;
	}
	return text;
}

static void note_place(enum ulp_place place, const struct ulp_image *image)
{
	whole_of_place[place] = range_of(image);
	text_of_place[place] = text_of(image);
}

static void learn_allocator(uint64_t function)
{
	struct ulp_image room;
	const struct ulp_image *image = ulp_image_at(function, &room);
	struct range range;

	if (!image || image->start == c_library->start)
		return;
	range = range_of(image);
	allocator_in_program = within(&range, ulp_auxiliary(AT_PHDR));
	if (!allocator_in_program)
		note_place(ULP_PLACE_ALLOCATOR, image);
}

bool ulp_system_code_learn(void)
{
	const struct ulp_image *library, *loader;
	uint64_t kernel = ulp_auxiliary(AT_SYSINFO_EHDR);

	if (c_library)
		return true;
	library = image_named("libc.so.6");
	loader = image_named(ULP_LOADER_NAME);
	if (!library || !loader)
		return false;
	c_library = library;
	note_place(ULP_PLACE_C_LIBRARY, library);
	note_place(ULP_PLACE_LOADER, loader);
	if (kernel)
		whole_of_place[ULP_PLACE_KERNEL] = (struct range){kernel, kernel + VDSO_SIZE};
	system_call_function = ulp_image_function(library, "syscall");
	learn_allocator(ulp_calls_learn(library));
	return true;
}

static enum ulp_place place_among(const struct range *ranges, uint64_t address)
{
	for (unsigned i = ULP_PLACE_C_LIBRARY; i <= ULP_PLACE_ALLOCATOR; i++)
		if (within(&ranges[i], address))
			return (enum ulp_place)i;
	return ULP_PLACE_OTHER;
}

enum ulp_place ulp_system_code_place(uint64_t address)
{
	return place_among(whole_of_place, address);
}

enum ulp_place ulp_system_code_place_in_text(uint64_t address)
{
	return place_among(text_of_place, address);
}

bool ulp_system_code_in_c_library(uint64_t address)
{
	return within(&whole_of_place[ULP_PLACE_C_LIBRARY], address);
}

bool ulp_system_code_in_syscall(uint64_t address)
{
	/* It is not longer than this. */
	return address >= system_call_function && address < system_call_function + 64;
}

bool ulp_system_code_allocator_in_program(void)
{
	return allocator_in_program;
}

const struct ulp_image *ulp_system_code_c_library(void)
{
	return c_library;
}
