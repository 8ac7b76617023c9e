/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In the runtime's place: a state block that has everything where it should be, but for what the
 * variable FALSE names. It stands in a library called libpulp.so, as the runtime does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <ulp/abi.h>

#define CAPACITY    (1u << 20)
#define PAGE        4096
#define MANY_BODIES (1u << 16)
#define HALF_OF_ALL (1ull << 63)

__attribute__((visibility("default"))) struct ulp_state ulp_state;

static unsigned char buffer[CAPACITY] __attribute__((aligned(PAGE)));
static struct ulp_thread threads[ULP_THREAD_SETS * ULP_THREAD_WAYS];
static struct ulp_messages messages = {.size = sizeof messages.data};

struct target {
	uint64_t base, start, end;
};

static bool is(const char *what)
{
	return strcmp(getenv("FALSE"), what) == 0;
}

/* The code of the first library that is not this one. */
static int find(struct dl_phdr_info *info, size_t size, void *data)
{
	struct target *target = data;

	(void)size;
	if (!strstr(info->dlpi_name, getenv("TARGET")))
		return 0;
	target->base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

		if (segment->p_type == PT_LOAD && segment->p_flags & PF_X) {
			target->start = info->dlpi_addr + segment->p_vaddr;
			target->end = target->start + segment->p_memsz;
		}
	}
	return 1;
}

/* A thread that is sent here does not come back. */
__asm__(".pushsection .text\n"
	"never:	mov $34, %eax\n" /* pause */
	"	syscall\n"
	"	jmp never\n"
	".popsection\n");
extern char never[] __attribute__((visibility("hidden")));

/* A patch library that is not there: its code is that of the target. */
static void claim_a_patch(const struct target *target)
{
	const char *id = getenv("PATCH");

	for (int i = 0; i < ULP_PATCH_ID_SIZE; i++)
		sscanf(id + 2 * i, "%2hhx", &ulp_state.patches[0].id[i]);
	ulp_state.patches[0].functions = 1;
	ulp_state.domain_count = ulp_state.library_count = ulp_state.patch_count = 1;
	ulp_state.domains[0].universe = ulp_state.domains[0].floor = 1;
	ulp_state.domains[0].library_count = 1;
	ulp_state.libraries[0].base = target->base;
	ulp_state.libraries[0].text_start = target->start;
	ulp_state.libraries[0].text_end = target->end;
	ulp_state.libraries[0].hooked = 1;
	strcpy(ulp_state.libraries[0].name, "library");
	ulp_state.patches[0].applied_universe = 1;
	ulp_state.patches[0].status = ULP_PATCH_APPLIED;
	ulp_state.patches[0].text_start = target->start;
	ulp_state.patches[0].text_end = target->end;
	strcpy(ulp_state.patches[0].name, "a\033[2Jpatch");
}

static void claim_many_bodies(void)
{
	uint64_t *table = mmap(NULL, 8 + 16 * MANY_BODIES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ulp_library *first = &ulp_state.libraries[0];

	table[0] = MANY_BODIES;
	for (uint64_t i = 0; i < MANY_BODIES; i++) {
		table[1 + 2 * i] = first->text_start + i % 16;
		table[2 + 2 * i] = first->text_end;
	}
	first->flags = ULP_LIBRARY_PROGRAM;
	first->bodies = (uint64_t)table;
	ulp_state.library_count = ULP_LIBRARIES;
	for (int i = 1; i < ULP_LIBRARIES; i++)
		ulp_state.libraries[i] = *first;
}

/* Where a request goes is now its own memory, and now a file that it may only read, shared with all who read it. */
static void *flip(void *unused)
{
	int file = open(getenv("PRECIOUS"), O_RDONLY);

	for (;;) {
		mmap(buffer, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		     -1, 0);
		mmap(buffer, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0);
	}
	return unused;
}

__attribute__((constructor)) static void set_up(void)
{
	struct target target = {0};

	dl_iterate_phdr(find, &target);
	ulp_state.abi_version = ULP_ABI_VERSION;
	ulp_state.size = sizeof ulp_state;
	strcpy(ulp_state.runtime_version, "1\033[2J");
	ulp_state.entry = (uint64_t)never;
	ulp_state.request = (uint64_t)buffer;
	ulp_state.request_capacity = sizeof buffer;
	ulp_state.threads = (uint64_t)threads;
	ulp_state.messages = (uint64_t)&messages;
	ulp_state.text_start = (uint64_t)set_up;
	ulp_state.text_end = ulp_state.text_start + 16;
	claim_a_patch(&target);
	if (is("request"))
		ulp_state.request = 0xffffffffff600000;
	if (is("entry"))
		ulp_state.entry = UINT64_MAX;
	if (is("code"))
		ulp_state.libraries[0].text_start = HALF_OF_ALL;
	if (is("code"))
		ulp_state.libraries[0].text_end = UINT64_MAX;
	if (is("bodies"))
		claim_many_bodies();
	if (is("lock"))
		ulp_state.sequence = 1;
	if (is("flip")) {
		pthread_t thread;

		/* So that it is asked to apply one. */
		ulp_state.patch_count = ulp_state.library_count = ulp_state.domain_count = 0;
		pthread_create(&thread, NULL, flip, NULL);
	}
	__atomic_store_n(&ulp_state.magic, ULP_STATE_MAGIC, __ATOMIC_RELEASE);
}
