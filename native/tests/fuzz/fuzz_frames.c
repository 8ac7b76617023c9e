/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frame descriptions of any kind: the unwinder reads no byte that is not theirs, and comes to an end.
 *
 * An input is four bytes, which say where in it the thread is; then .eh_frame_hdr and what follows.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/address_space.h"
#include "runtime/image_table.h"
#include "runtime/stack.h"
#include "runtime/unwind.h"

#define MOST_FRAMES 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ulp_image image;
static uint64_t stack[64];

/* The one image that there is. */
const struct ulp_image *ulp_image_at(uint64_t address, struct ulp_image *room)
{
	(void)room;
	return address >= image.start && address < image.end ? &image : NULL;
}

/* The kernel does not know where an allocation ends. */
bool ulp_readable(uint64_t start, uint64_t size)
{
	return start >= image.start && start <= image.end && image.end - start >= size;
}

bool ulp_copy(void *into, uint64_t from, uint64_t size)
{
	if (!ulp_readable(from, size))
		return false;
	memcpy(into, (const void *)from, size);
	return true;
}

uint64_t ulp_stack_known_end(uint64_t address)
{
	uint64_t end = (uint64_t)(stack + 64);

	return address >= (uint64_t)stack && address < end ? end : 0;
}

/* Whoever reads a rule before it was written finds one that leads nowhere. */
__attribute__((noinline)) static void spoil_the_stack(void)
{
	volatile unsigned char left_behind[1 << 14];

	for (unsigned i = 0; i < sizeof left_behind; i++)
		left_behind[i] = 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ulp_unwinder unwinder = {.described = false};
	unsigned char *memory;
	uint32_t where;

	if (size <= sizeof where)
		return 0;
	memcpy(&where, data, sizeof where);
	/* A copy that ends where its memory ends. */
	size -= sizeof where;
	memory = malloc(size);
	if (!memory)
		return 0;
	memcpy(memory, data + sizeof where, size);
	image = (struct ulp_image){.start = (uint64_t)memory,
				   .end = (uint64_t)memory + size,
				   .base = (uint64_t)memory,
				   .frame_table = (uint64_t)memory,
				   .segment_count = 1};
	image.segment[0].start = image.start;
	image.segment[0].end = image.end;
	image.segment[0].flags = PF_R;
	/* What lies on the stack leads back into the image. */
	for (unsigned i = 0; i < 64; i++)
		stack[i] = image.start + (where + i * 7u) % size;
	unwinder.registers[ULP_UNWIND_STACK_POINTER] = (uint64_t)stack;
	unwinder.registers[ULP_UNWIND_RETURN_ADDRESS] = image.start + where % size;
	ulp_unwind_begin(&unwinder);
	spoil_the_stack();
	for (unsigned i = 0; i < MOST_FRAMES && ulp_unwind_step(&unwinder); i++)
		;
	free(memory);
	return 0;
}
