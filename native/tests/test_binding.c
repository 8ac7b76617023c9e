/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Words of the patch library are filled with what the target itself means, also where that lies in
 * the program; each thread has its own thread-local variable; and what is not there, or does not
 * belong to the patch library, is refused before anything changes.
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "binding_target.h"
#include "harness.h"

/* In place of the target's. */
int interposed(void)
{
	return 5000;
}

static const void *const functions[] = {sum, NULL};
static const struct pair pairs[] = {{sum, "new_sum"}, {NULL, NULL}};

static void *patch;
static const struct link_map *patch_map, *target_map;

static uint64_t slot_of(const char *name)
{
	void *address = dlsym(patch, name);

	CHECK(address);
	return (uint64_t)address - patch_map->l_addr;
}

static uint64_t dynamic(const struct link_map *map, int64_t tag)
{
	for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == tag)
			return entry->d_un.d_val;
	CHECK(!"the tag");
	return 0;
}

/* The offset of the target's word for a name: of its GOT. */
static uint64_t word_of(const char *name)
{
	const ElfW(Sym) *symbols = (const void *)dynamic(target_map, DT_SYMTAB);
	const char *strings = (const void *)dynamic(target_map, DT_STRTAB);
	const struct {
		int64_t address, size;
	} tables[] = {{DT_RELA, DT_RELASZ}, {DT_JMPREL, DT_PLTRELSZ}};

	for (int i = 0; i < 2; i++) {
		const ElfW(Rela) *table = (const void *)dynamic(target_map, tables[i].address);
		uint64_t count = dynamic(target_map, tables[i].size) / sizeof *table;

		for (uint64_t k = 0; k < count; k++)
			if (strcmp(strings + symbols[ELF64_R_SYM(table[k].r_info)].st_name, name) ==
			    0)
				return table[k].r_offset;
	}
	CHECK(!"a relocation");
	return 0;
}

static uint32_t add_string(struct ulp_request *request, const char *text)
{
	uint32_t offset = request->size;

	strcpy((char *)request + offset, text);
	request->size += (uint32_t)strlen(text) + 1;
	return offset;
}

static struct ulp_request_binding *add(struct ulp_request *request, uint32_t kind, const char *slot,
				       uint64_t offset, const char *name, const char *version)
{
	struct ulp_request_library *library = (void *)((char *)request + request->libraries);
	struct ulp_request_binding *binding = (void *)((char *)request + library->bindings +
						       library->binding_count++ * sizeof *binding);

	binding->kind = kind;
	binding->slot = slot_of(slot);
	binding->offset = offset;
	binding->name = add_string(request, name);
	binding->version = add_string(request, version);
	return binding;
}

/* Room for bindings, the strings behind it. */
static struct ulp_request *prepare(void)
{
	struct ulp_request *request = prepare_apply(1, PATCH_PATH, false, functions, pairs);
	struct ulp_request_library *library = (void *)((char *)request + request->libraries);

	library->bindings = (request->size + 7) & ~7u;
	request->size = library->bindings + 16 * (uint32_t)sizeof(struct ulp_request_binding);
	return request;
}

static struct ulp_request *prepare_all(void)
{
	struct ulp_request *request = prepare();
	uint64_t base = target_map->l_addr;
	uint64_t hidden = (uint64_t)hidden_variable_address() - base;

	add(request, ULP_BIND_ADDRESS, "hidden_word", hidden, "hidden", "");
	/* The addend leads there, too. */
	add(request, ULP_BIND_ADDRESS, "relro_word", hidden - 64, "hidden", "")->addend = 64;
	add(request, ULP_BIND_ADDRESS, "hidden_function_word",
	    (uint64_t)hidden_function_address() - base, "hidden_function", "");
	add(request, ULP_BIND_WORD, "copied_word", word_of("copied"), "copied", "");
	add(request, ULP_BIND_SYMBOL, "interposed_word", 0, "interposed", "");
	/* There is no other thread-local variable. */
	add(request, ULP_BIND_TLS, "per_thread_words", 0, "per_thread", "");
	seal(request);
	return request;
}

static void refused(struct ulp_request *request, enum ulp_error error, const char *detail)
{
	struct ulp_result result;

	seal(request);
	result = send(request);
	CHECK(result.stage == ULP_STAGE_FAILED && result.error == (int32_t)error);
	CHECK(strstr(result.detail, detail));
	CHECK(STATE->patch_count == 0);
}

static void refuse_what_is_wrong(void)
{
	struct ulp_request *request = prepare();

	add(request, ULP_BIND_SYMBOL, "hidden_word", 0, "nobody_has_this", "");
	refused(request, ULP_BINDING_FAILED, "nobody_has_this");
	request = prepare();
	add(request, ULP_BIND_SYMBOL, "hidden_word", 0, "malloc", "NO_SUCH_1.0");
	refused(request, ULP_BINDING_FAILED, "malloc@NO_SUCH_1.0");
	request = prepare();
	add(request, ULP_BIND_WORD, "hidden_word", 1ull << 40, "far", "");
	refused(request, ULP_BINDING_FAILED, "far");
	/* The patch library's code, and what is not the patch library's. */
	request = prepare();
	add(request, ULP_BIND_ADDRESS, "new_sum", 0, "code", "")->slot &= ~7ull;
	refused(request, ULP_BAD_REQUEST, "code");
	request = prepare();
	add(request, ULP_BIND_ADDRESS, "hidden_word", 0, "outside", "")->slot =
		(uint64_t)&STATE->magic - patch_map->l_addr;
	refused(request, ULP_BAD_REQUEST, "outside");
	/* Malformed. */
	request = prepare();
	add(request, 6, "hidden_word", 0, "kind", "");
	refused(request, ULP_BAD_REQUEST, "");
	request = prepare();
	add(request, ULP_BIND_ADDRESS, "hidden_word", 0, "odd", "")->slot++;
	refused(request, ULP_BAD_REQUEST, "");
	request = prepare();
	add(request, ULP_BIND_ADDRESS, "hidden_word", 0, "x", "")->name = request->size;
	refused(request, ULP_BAD_REQUEST, "");
}

/* Whether the page of a word that the loader makes read-only is. */
static bool is_protected(uint64_t address)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4096], right = ' ';
	uint64_t start, end;

	CHECK(maps);
	while (fgets(line, sizeof line, maps))
		if (sscanf(line, "%lx-%lx r%c", &start, &end, &right) == 3 && address >= start &&
		    address < end)
			break;
	fclose(maps);
	CHECK(right == 'w' || right == '-');
	return right == '-';
}

/* That page stays as it is. */
static void deny_mprotect(uint64_t page)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)page, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* In a child, which is left with its filter.  Seen to fail, with the process called out of memory. */
static void refuse_what_is_not_to_be_written(void)
{
	uint64_t word = (uint64_t)dlsym(patch, "relro_word");
	pid_t child = fork();
	int status;

	if (child == 0) {
		deny_mprotect(word & ~4095ull);
		refused(prepare_all(), ULP_WORD_UNWRITABLE, "the word for hidden");
		CHECK(sum() == 65321 && is_protected(word));
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static void *sum_of_thread(void *argument)
{
	(void)argument;
	return (void *)(intptr_t)sum();
}

int main(void)
{
	const uint64_t *per_thread_words;
	pthread_t thread;
	void *seen;
	Dl_info info;

	patch = dlopen(PATCH_PATH, RTLD_NOW);
	CHECK(patch && dlinfo(patch, RTLD_DI_LINKMAP, &patch_map) == 0);
	CHECK(dladdr1((const void *)hidden_variable_address(), &info, (void **)&target_map,
		      RTLD_DL_LINKMAP));
	/* The program's copy, and its function. */
	CHECK(dladdr(&copied, &info) && strcmp(info.dli_fname, target_map->l_name) != 0);
	CHECK(sum() == 1 + 20 + 300 + 5000 + 60000);
	refuse_what_is_wrong();
	CHECK(is_protected((uint64_t)dlsym(patch, "relro_word")));
	refuse_what_is_not_to_be_written();
	CHECK(sum() == 65321);

	CHECK(send(prepare_all()).stage == ULP_STAGE_DONE);
	CHECK(is_protected((uint64_t)dlsym(patch, "relro_word")));
	CHECK(sum() == -(2 + 21 + 301 + 5000 + 60000));
	CHECK(copied == 2 && per_thread == 301 && *(const int *)hidden_variable_address() == 21);
	CHECK(pthread_create(&thread, NULL, sum_of_thread, NULL) == 0);
	CHECK(pthread_join(thread, &seen) == 0);
	CHECK((intptr_t)seen == -(3 + 22 + 301 + 5000 + 60000) && per_thread == 301);
	per_thread_words = dlsym(patch, "per_thread_words");
	CHECK(per_thread_words[0] != 0);

	/* Old code goes on with what new code has left, and the other way round. */
	revert(1);
	CHECK(sum() == 3 + 22 + 301 + 5000 + 60000);
	*(int **)dlsym(patch, "hidden_word") = NULL;
	CHECK(send(prepare_all()).stage == ULP_STAGE_DONE);
	CHECK(sum() == -(4 + 23 + 302 + 5000 + 60000));
	return 0;
}
