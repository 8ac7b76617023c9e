/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/slot.h"

/* A slot must be within a signed 32-bit distance of all the text that jumps through it. */
#define REACH      0x7fff0000ull
#define SMALL_GAP  (64ull << 10)
#define LARGE_GAP  (1ull << 20)
#define SMALL_GAPS 1024

static bool in_reach(const struct ulp_library *library, uint64_t start, uint64_t size)
{
	uint64_t low = start < library->text_start ? start : library->text_start;
	uint64_t high = start + size > library->text_end ? start + size : library->text_end;

	return high - low < REACH;
}

static void *map_at(uint64_t hint, size_t size, int flags)
{
	long memory = ulp_system_call(SYS_mmap, hint, size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return memory < 0 ? NULL : (void *)memory;
}

static void unmap(void *memory, size_t size)
{
	ulp_system_call(SYS_munmap, memory, size);
}

/* Nothing is ever placed below, whatever vm.mmap_min_addr says. */
#define LOWEST (1ull << 20)

/* The first free place from `start` on, `downwards` or upwards, that is within reach. */
static void *map_within_reach(const struct ulp_library *library, uint64_t start, size_t size,
			      bool downwards)
{
	uint64_t place = start;

	for (unsigned gap = 0; place > LOWEST && in_reach(library, place, size); gap++) {
		uint64_t step = gap < SMALL_GAPS ? SMALL_GAP : LARGE_GAP;
		void *memory = map_at(place, size, MAP_FIXED_NOREPLACE);

		if (memory == (void *)place)
			return memory;
		if (memory)
			unmap(memory, size);
		if (downwards && place < step)
			break;
		place = downwards ? place - step : place + step;
	}
	return NULL;
}

static uint64_t page_at(uint64_t address)
{
	return address & ~(ULP_PAGE - 1);
}

static uint64_t page_behind(uint64_t address)
{
	return page_at(address + ULP_PAGE - 1);
}

static size_t size_of(uint32_t count)
{
	return page_behind(count * sizeof(uint64_t));
}

void ulp_slots_unmap(uint64_t *slots, uint32_t count)
{
	unmap(slots, size_of(count));
}

uint64_t *ulp_slots_map(const struct ulp_library *library, uint32_t count)
{
	/* The kernel's own choice is the first guess. */
	size_t size = size_of(count);
	void *memory = map_at(0, size, 0);

	if (!memory)
		return NULL;
	if (in_reach(library, (uint64_t)memory, size))
		return memory;
	unmap(memory, size);
	memory = map_within_reach(library, page_at(library->text_start) - size, size, true);
	if (!memory)
		memory = map_within_reach(library, page_behind(library->text_end), size, false);
	return memory;
}
