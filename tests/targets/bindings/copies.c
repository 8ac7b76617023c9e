/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loads the library as often as it is told.
 *
 *   load PATH    -> the number of the copy that was loaded from there, where nobody else sees its names
 *   apart PATH   -> the same, in a namespace of its own
 *   sum NUMBER   -> the sum of that copy
 *   at NUMBER    -> the address of the function
 *   map PATH     -> the code of that file is mapped, and the loader knows nothing of it
 *   unmap        -> and is gone again
 *   busy 0|1     -> the last namespace is left as if its list were being changed, or at rest: r_state
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../victim.h"

#define MOST 80

static int (*sums[MOST])(void);
static int loaded;

static void note(void *library)
{
	if (!library)
		die(dlerror());
	sums[loaded] = (int (*)(void))dlsym(library, "sum");
	answer("%d", loaded++);
}

static void run_load(char **arguments)
{
	note(dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL));
}

static void run_apart(char **arguments)
{
	note(dlmopen(LM_ID_NEWLM, arguments[1], RTLD_NOW | RTLD_LOCAL));
}

static void run_sum(char **arguments)
{
	answer("%d", sums[atoi(arguments[1])]());
}

static void run_at(char **arguments)
{
	answer("%ld", (long)sums[atoi(arguments[1])]);
}

static void *code;
static size_t code_size;

static void run_map(char **arguments)
{
	int file = open(arguments[1], O_RDONLY);
	ElfW(Ehdr) header;
	ElfW(Phdr) segment = {0};

	if (file < 0 || pread(file, &header, sizeof header, 0) != (ssize_t)sizeof header)
		die("read ELF header");
	for (unsigned i = 0; i < header.e_phnum && !(segment.p_flags & PF_X); i++)
		if (pread(file, &segment, sizeof segment,
			  (off_t)(header.e_phoff + i * sizeof segment)) != (ssize_t)sizeof segment)
			die("read program header");
	code_size = segment.p_filesz;
	code = mmap(NULL, code_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file,
		    (off_t)(segment.p_offset & ~4095ull));
	if (code == MAP_FAILED)
		die("mmap");
	close(file);
	answer("mapped");
}

static void run_unmap(char **arguments)
{
	(void)arguments;
	if (munmap(code, code_size) != 0)
		die("munmap");
	answer("unmapped");
}

static void run_busy(char **arguments)
{
	struct r_debug_extended *names = NULL;

	for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_DEBUG)
			names = (struct r_debug_extended *)entry->d_un.d_ptr;
	if (!names)
		die("no DT_DEBUG");
	while (names->r_next)
		names = names->r_next;
	names->base.r_state = atoi(arguments[1]) ? RT_ADD : RT_CONSISTENT;
	answer("%d", (int)names->base.r_state);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"load", run_load}, {"apart", run_apart}, {"sum", run_sum},   {"at", run_at},
		{"map", run_map},   {"unmap", run_unmap}, {"busy", run_busy}, {NULL, NULL}};

	return serve(commands);
}
