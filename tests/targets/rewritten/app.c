/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that rewrites code of a library, or of its own, as programs do that use huge pages for it:
 *   version         -> what two functions of the library give
 *   save            -> keeps a copy of the library's code
 *   restore         -> writes that copy over the code
 *   move WHAT HOW   -> puts other memory with the same bytes where the code is; WHAT is library, page (the first
 *                      one of it) or program; HOW is anonymous, saved (what "save" has kept), file, or away (the
 *                      mapping of the file goes elsewhere)
 *   forget          -> gives up the private copies of the library's pages: the kernel shows the file again
 */
#define _GNU_SOURCE
#include <link.h>
#include <sys/mman.h>

#include "../victim.h"

int version(void);
int far_version(void);

#define PAGE 4096ul

struct code {
	const char *name; /* a part of the library's name; "": the program's */
	unsigned char *start;
	size_t size;
};

static unsigned char *saved;

static int find(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct code *code = argument;

	(void)size;
	if (*code->name ? !strstr(info->dlpi_name, code->name) : *info->dlpi_name)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		unsigned long start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X))
			continue;
		code->start = (unsigned char *)(start & ~(PAGE - 1));
		code->size = ((start + segment->p_memsz + PAGE - 1) & ~(PAGE - 1)) -
			     (unsigned long)code->start;
	}
	return 1;
}

static struct code code_of(const char *name)
{
	struct code code = {.name = name};

	if (!dl_iterate_phdr(find, &code) || !code.size)
		die("dl_iterate_phdr");
	return code;
}

static struct code library_code(void)
{
	return code_of("librewritten");
}

static void run_version(char **arguments)
{
	(void)arguments;
	answer("%d %d", version(), far_version());
}

static void run_save(char **arguments)
{
	struct code code = library_code();

	(void)arguments;
	saved = malloc(code.size);
	if (!saved)
		die("malloc");
	memcpy(saved, code.start, code.size);
	answer("saved");
}

static void run_restore(char **arguments)
{
	struct code code = library_code();

	(void)arguments;
	if (mprotect(code.start, code.size, PROT_READ | PROT_WRITE | PROT_EXEC))
		die("mprotect");
	memcpy(code.start, saved, code.size);
	if (mprotect(code.start, code.size, PROT_READ | PROT_EXEC))
		die("mprotect");
	answer("restored");
}

static void *memory_of(const char *how, size_t size)
{
	void *memory;

	if (strcmp(how, "file")) {
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);
	} else {
		int file = memfd_create("code", MFD_CLOEXEC);

		if (file < 0 || ftruncate(file, (off_t)size))
			die("memfd_create");
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		close(file);
	}
	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void run_move(char **arguments)
{
	const char *how = arguments[2];
	struct code code = strcmp(arguments[1], "program") ? library_code() : code_of("");
	void *copy;

	if (!strcmp(arguments[1], "page"))
		code.size = PAGE;
	copy = memory_of(how, code.size);
	memcpy(copy, strcmp(how, "saved") ? code.start : saved, code.size);
	if (mprotect(copy, code.size, PROT_READ | PROT_EXEC))
		die("mprotect");
	if (!strcmp(how, "away")) {
		void *elsewhere =
			mmap(NULL, code.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (elsewhere == MAP_FAILED ||
		    mremap(code.start, code.size, code.size, MREMAP_MAYMOVE | MREMAP_FIXED,
			   elsewhere) != elsewhere)
			die("mremap away");
	}
	if (mremap(copy, code.size, code.size, MREMAP_MAYMOVE | MREMAP_FIXED, code.start) !=
	    code.start)
		die("mremap");
	answer("moved");
}

static void run_forget(char **arguments)
{
	struct code code = library_code();

	(void)arguments;
	if (madvise(code.start, code.size, MADV_DONTNEED))
		die("madvise");
	answer("forgotten");
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version}, {"save", run_save},     {"restore", run_restore},
		{"move", run_move},       {"forget", run_forget}, {NULL, NULL},
	};

	return serve(commands);
}
