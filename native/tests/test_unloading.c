/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another thread unloads an object at the worst moment: right after the kernel was asked about its
 * memory.  Seen to fail with refresh() in place of look_for() in ulp_image_at(); and the second half
 * (SIGSEGV) with image.c reading what ulp_readable() had said yes to.
 */
#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "runtime/address_space.h"
#include "runtime/image_table.h"

static struct range {
	uint64_t start;
	uint64_t end;
} plugin;

static unsigned questions;
/* What becomes of the plugin when it is asked about: it is unmapped, or nobody may ask. */
static enum {
	STAYS,
	GOES,
	FORBIDDEN
} fate = STAYS;

static void note_question(uint64_t start, uint64_t size)
{
	if (start >= plugin.end || start + size <= plugin.start)
		return;
	questions++;
	CHECK(fate != FORBIDDEN);
	if (fate == GOES)
		CHECK(munmap((void *)plugin.start, plugin.end - plugin.start) == 0);
}

static bool copy(void *into, uint64_t from, uint64_t size)
{
	struct iovec here = {into, size}, there = {(void *)from, size};

	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
}

/* In place of address_space.c, which is tested by itself. */

bool ulp_copy(void *into, uint64_t from, uint64_t size)
{
	bool copied = copy(into, from, size);

	note_question(from, size);
	return copied;
}

bool ulp_readable(uint64_t start, uint64_t size)
{
	char first, last;
	bool readable = copy(&first, start, 1) && copy(&last, start + size - 1, 1);

	note_question(start, size);
	return readable;
}

bool ulp_holds(uint64_t address, uint32_t value)
{
	uint32_t word;

	return copy(&word, address, sizeof word) && word == value;
}

static int note_plugin(struct dl_phdr_info *info, size_t size, void *base)
{
	(void)size;
	if (info->dlpi_addr != *(ElfW(Addr) *)base)
		return 0;
	plugin.start = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD)
			plugin.end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
				     info->dlpi_phdr[i].p_memsz;
	plugin.end = (plugin.end + 4095) & ~4095ull;
	return 1;
}

static uint64_t load(const char *path)
{
	void *handle = dlopen(path, RTLD_NOW);
	struct link_map *map;

	CHECK(handle && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0);
	CHECK(dl_iterate_phdr(note_plugin, &map->l_addr) == 1);
	return (uint64_t)dlsym(handle, "through");
}

static bool look_up(const struct ulp_image *image, void *argument)
{
	*(unsigned *)argument += ulp_image_function(image, "through") != 0;
	return true;
}

static unsigned definitions(void)
{
	unsigned count = 0;

	ulp_images_each(look_up, &count);
	return count;
}

/* Of one that answers a request. */
static void list_is_read(void)
{
	unsigned listed;

	load(PLUGIN_SMALL);
	ulp_images_refresh();
	listed = definitions();
	CHECK(listed == 2);
	load(PLUGIN_LARGE);
	questions = 0;
	fate = GOES;
	ulp_images_refresh();
	CHECK(questions);
	/* The loader itself would fall over it from here on. */
	CHECK(definitions() == listed);
}

/* Of any other thread: it asks about no object but the one that it is in. */
static void one_is_looked_for(void)
{
	const struct ulp_image *image;
	struct ulp_image room;
	uint64_t through = load(PLUGIN_OTHER), generated;

	fate = FORBIDDEN;
	generated = (uint64_t)mmap((void *)plugin.end, 4096, PROT_READ,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	/* Where something lies behind it, that is no code of an object either. */
	CHECK(!ulp_image_at(
		generated == plugin.end ? generated : (uint64_t)&questions + (1ull << 40), &room));
	fate = STAYS;
	image = ulp_image_at(through, &room);
	CHECK(image && image->start == plugin.start);
}

int main(int argc, char **argv)
{
	ulp_images_learn(argc, argv);
	ulp_images_refresh();
	one_is_looked_for();
	list_is_read();
	/* The loader would call the destructors of what is gone. */
	_exit(0);
}
