/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arch.h"
#include "runtime/address_space.h"
#include "runtime/landing_table.h"
#include "runtime/memory_file.h"
#include "system_call.h"

/* Nothing is ever placed below, whatever vm.mmap_min_addr says. */
#define LOWEST (1ull << 20)

/* Pages that were mapped for landings. */
static struct {
	uint64_t address;
	uint32_t landings;
} pages[2 * ULP_LANDINGS];
static uint32_t page_count;

static struct ulp_descriptor file = {.number = -1};

static uint64_t page_of(uint64_t address)
{
	return address & ~(ULP_PAGE - 1);
}

/* The index of the page in the table, or page_count. */
static uint32_t find(uint64_t page)
{
	uint32_t i = 0;

	while (i < page_count && pages[i].address != page)
		i++;
	return i;
}

/* A file of one page of traps: the kernel's error number, or 0. */
static long open_file(void)
{
	unsigned char traps[256];
	long error;

	if (ulp_descriptor_is_ours(&file))
		return 0;
	error = ulp_memory_file_create("landings", &file);
	ulp_fill_long(traps, ULP_CODE_TRAP, sizeof traps);
	for (unsigned at = 0; !error && at < ULP_PAGE; at += sizeof traps) {
		long written = ulp_system_call(SYS_pwrite64, file.number, traps, sizeof traps, at);

		error = written < 0 ? written : 0;
	}
	if (error)
		ulp_landings_close();
	return error;
}

static enum ulp_error map_page(uint64_t page, long *number)
{
	long memory;

	if (page_count == sizeof pages / sizeof *pages)
		return ULP_FULL;
	*number = open_file();
	if (*number)
		return ULP_NO_MEMORY;
	memory = ulp_system_call(SYS_mmap, page, ULP_PAGE, PROT_READ | PROT_EXEC,
				 MAP_PRIVATE | MAP_FIXED_NOREPLACE, file.number, 0);
	if (memory < 0)
		return ULP_NO_LANDING;
	if ((uint64_t)memory != page) {
		/* Linux before 4.17 takes the address for a hint. */
		ulp_system_call(SYS_munmap, memory, ULP_PAGE);
		return ULP_NO_LANDING;
	}
	pages[page_count].address = page;
	pages[page_count++].landings = 0;
	return ULP_OK;
}

static void unmap_if_empty(uint64_t page)
{
	uint32_t i = find(page);

	if (i == page_count || pages[i].landings)
		return;
	ulp_system_call(SYS_munmap, page, ULP_PAGE);
	pages[i] = pages[--page_count];
}

static uint64_t last_page(uint64_t address)
{
	return page_of(address + ULP_LANDING_SIZE - 1);
}

static void unmap_what_is_empty(uint64_t address)
{
	for (uint64_t page = page_of(address); page <= last_page(address); page += ULP_PAGE)
		unmap_if_empty(page);
}

static enum ulp_error map_pages(uint64_t address, long *number)
{
	enum ulp_error error = ULP_OK;

	for (uint64_t page = page_of(address); !error && page <= last_page(address);
	     page += ULP_PAGE)
		if (find(page) == page_count)
			error = map_page(page, number);
	return error;
}

/* No other landing overlaps it, and the program has not mapped something else over a page of ours. */
static bool is_free(uint64_t address)
{
	const unsigned char *code = (const unsigned char *)address;

	if (!ulp_readable(address, ULP_LANDING_SIZE))
		return false;
	for (unsigned i = 0; i < ULP_LANDING_SIZE; i++)
		if (code[i] != ULP_CODE_TRAP)
			return false;
	return true;
}

static void count(uint64_t address, int change)
{
	for (uint64_t page = page_of(address); page <= last_page(address); page += ULP_PAGE)
		pages[find(page)].landings += (uint32_t)change;
}

enum ulp_error ulp_landing_make(const struct ulp_text *text, uint64_t address, uint64_t cell,
				uint32_t frame, long *number)
{
	unsigned char code[ULP_LANDING_SIZE];
	enum ulp_error error;

	*number = 0;
	if (address < LOWEST || address + ULP_LANDING_SIZE > ULP_ADDRESS_END)
		return ULP_NO_LANDING;
	error = map_pages(address, number);
	if (!error && !is_free(address))
		error = ULP_NO_LANDING;
	ulp_code_landing(cell, code);
	if (!error && !ulp_text_write(text, address, code, sizeof code))
		error = ULP_TEXT_UNWRITABLE;
	if (!error && !ulp_landing_note(address, frame))
		error = ULP_FULL;
	if (error)
		unmap_what_is_empty(address);
	else
		count(address, 1);
	return error;
}

void ulp_landing_discard(const struct ulp_text *text, uint64_t address)
{
	unsigned char traps[ULP_LANDING_SIZE];

	ulp_fill_long(traps, ULP_CODE_TRAP, sizeof traps);
	/* Where it can't be written any more, no other landing comes to be there. */
	(void)ulp_text_write(text, address, traps, sizeof traps);
	ulp_landing_forget(address);
	count(address, -1);
	unmap_what_is_empty(address);
}

void ulp_landings_close(void)
{
	ulp_descriptor_close(&file);
}
