/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <time.h>

#include "extended_state.h"
#include "harness.h"
#include "runtime/checksum.h"

uint64_t divert_flags = ULP_BLOCK_MAY_COPY;

long divert(void (*entry)(void), uint64_t nonce, size_t xstate_size, uint64_t interrupted);

/* The runtime's own is hidden in the library; this one is the definition of CRC-32. */
uint32_t ulp_checksum(const void *data, size_t size)
{
	const unsigned char *byte = data;
	uint32_t remainder = ~0u;

	for (size_t i = 0; i < size * 8; i++) {
		uint32_t bit = (byte[i / 8] >> (i % 8)) & 1u;

		remainder = (remainder >> 1) ^ ((remainder ^ bit) & 1 ? 0xedb88320u : 0);
	}
	return ~remainder;
}

const void *tail;
uint32_t every_site;
uint32_t settled;
uint64_t settled_keeps;
const struct stock_site *stock;

struct ulp_state *runtime_state(void)
{
	static struct ulp_state *state;

	if (!state)
		state = dlsym(RTLD_DEFAULT, "ulp_state");
	CHECK(state && state->magic == ULP_STATE_MAGIC);
	return state;
}

struct object {
	const char *name;
	uint64_t address;
	uint64_t base, text_start, text_end;
	const uint8_t *id;
	uint32_t id_size;
};

static int describe(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct object *object = argument;
	bool match = object->name && strcmp(info->dlpi_name, object->name) == 0;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum && !object->name; i++) {
		uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		match |= info->dlpi_phdr[i].p_type == PT_LOAD && object->address >= start &&
			 object->address < start + info->dlpi_phdr[i].p_memsz;
	}
	if (!match)
		return 0;
	object->base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type == PT_LOAD && segment->p_flags & PF_X) {
			object->text_start = start;
			object->text_end = start + segment->p_memsz;
		}
		if (segment->p_type != PT_NOTE)
			continue;
		for (uint64_t at = start; at < start + segment->p_memsz;) {
			const ElfW(Nhdr) *note = (const void *)at;

			if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4) {
				object->id = (const uint8_t *)(note + 1) + 4;
				object->id_size = note->n_descsz;
			}
			at += sizeof *note + ((note->n_namesz + 3u) & ~3u) +
			      ((note->n_descsz + 3u) & ~3u);
		}
	}
	return 1;
}

void seal(struct ulp_request *request)
{
	request->checksum = ulp_checksum(request + 1, request->size - sizeof *request);
}

static uint64_t new_nonce(void)
{
	static uint64_t nonce = 1000;

	return ++nonce;
}

static struct ulp_request *new_request(unsigned char patch, const char *path,
				       enum ulp_operation operation)
{
	struct ulp_request *request = calloc(1, 65536);

	CHECK(request);
	request->magic = ULP_REQUEST_MAGIC;
	request->abi_version = ULP_ABI_VERSION;
	request->operation = (uint32_t)operation;
	request->settled = settled;
	request->settled_keeps = settled_keeps;
	memset(request->patch_id, patch, sizeof request->patch_id);
	request->size = sizeof *request;
	request->patch_path = request->size;
	strcpy((char *)request + request->size, path);
	request->size += (uint32_t)strlen(path) + 1;
	request->patch_name = request->patch_path;
	request->size = (request->size + 7) & ~7u;
	request->libraries = request->size;
	return request;
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int by_function(const void *a, const void *b)
{
	const struct ulp_request_replacement *x = a, *y = b;

	return x->function < y->function ? -1 : x->function > y->function;
}

/* The whole of each function, which the dynamic symbol table tells. */
static uint32_t describe_bodies(struct ulp_body *body, const uint64_t *functions, uint32_t count,
				uint64_t base)
{
	for (uint32_t i = 0; i < count; i++) {
		const ElfW(Sym) *symbol = NULL;
		Dl_info info;

		CHECK(dladdr1((void *)functions[i], &info, (void **)&symbol, RTLD_DL_SYMENT) &&
		      symbol && (uint64_t)info.dli_saddr == functions[i]);
		body[i].start = functions[i] - base;
		body[i].end = body[i].start + symbol->st_size;
	}
	return count;
}

#define JUMP_SIZE 5

/* What may belong to the displacement of its jump, or be a gap. */
#define BEHIND 8

/* The bytes of a function that nobody has hooked yet, as they were when they were first asked for. */
struct pristine {
	uint64_t function;
	uint32_t size;
	unsigned char code[256];
};

static const struct pristine *pristine(uint64_t function)
{
	static struct pristine all[64];
	const ElfW(Sym) *symbol = NULL;
	unsigned i = 0;
	Dl_info info;

	while (all[i].function && all[i].function != function)
		i++;
	CHECK(i < 63);
	if (!all[i].function) {
		CHECK(dladdr1((void *)function, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol);
		all[i].function = function;
		all[i].size = (uint32_t)symbol->st_size;
		CHECK(all[i].size + BEHIND <= sizeof all[i].code);
		memcpy(all[i].code, (const void *)function, all[i].size + BEHIND);
	}
	return &all[i];
}

static void describe_gap(struct ulp_request_pun *pun, const struct stock_site *site,
			 const struct pristine *function)
{
	unsigned char compared[sizeof function->code + JUMP_SIZE];

	CHECK(site->gap + JUMP_SIZE <= function->size + BEHIND);
	pun->gap = pun->function + site->gap;
	memcpy(compared, function->code, pun->size);
	memcpy(compared + pun->size, &function->code[site->gap], JUMP_SIZE);
	pun->checksum = ulp_checksum(compared, pun->size + JUMP_SIZE);
}

static uint32_t describe_pun(struct ulp_request_pun *pun, const struct stock_site *site,
			     uint64_t base)
{
	const struct pristine *function = pristine((uint64_t)site->function);
	unsigned end = site->offset + 5;

	pun->function = (uint32_t)(function->function - base);
	pun->site = pun->function + site->offset;
	pun->size = function->size > end ? function->size : end;
	pun->checksum = ulp_checksum(function->code, pun->size);
	pun->frame_before = site->before;
	pun->frame_after = site->after;
	pun->length = (uint8_t)site->length;
	pun->instruction = (uint8_t)site->instruction;
	pun->displacement = (uint8_t)site->displacement;
	memcpy(pun->code, &function->code[site->offset], 5);
	pun->code[0] = 0xe9;
	pun->written = 1;
	if (site->written) {
		memcpy(pun->code, site->code, sizeof pun->code);
		pun->written = (uint8_t)site->written;
	}
	if (site->gap)
		describe_gap(pun, site, function);
	return 1;
}

/* Those of one function after the other, as `sorted` has them. */
static uint32_t describe_puns(struct ulp_request_pun *pun, const uint64_t *sorted, uint32_t count,
			      uint64_t base)
{
	uint32_t described = 0;

	for (uint32_t i = 0; i < count; i++)
		for (const struct stock_site *site = stock; site->function; site++)
			if ((uint64_t)site->function == sorted[i])
				described += describe_pun(&pun[described], site, base);
	return described;
}

static bool is_program(const struct object *object)
{
	const struct link_map *map = NULL;

	CHECK(dlinfo(dlopen(NULL, RTLD_NOW), RTLD_DI_LINKMAP, &map) == 0);
	return map->l_addr == object->base;
}

struct ulp_request *prepare_apply(unsigned char patch, const char *path, bool endbr,
				  const void *const *functions, const struct pair *pairs)
{
	struct ulp_request *request = new_request(patch, path, ULP_APPLY);
	struct object target = {.address = (uint64_t)functions[0]}, loaded = {.name = path};
	void *handle = dlopen(path, RTLD_NOW);
	struct ulp_request_library *library = (void *)((char *)request + request->libraries);
	struct ulp_request_replacement *replacement = (void *)(library + 1);
	struct ulp_request_site *site;
	uint64_t sorted[64];
	uint32_t count = 0;

	CHECK(handle && dl_iterate_phdr(describe, &target) && dl_iterate_phdr(describe, &loaded));
	CHECK(target.id && loaded.id);
	memcpy(request->patch_build_id, loaded.id, loaded.id_size);
	request->patch_build_id_size = loaded.id_size;
	request->library_count = 1;
	library->base = target.base;
	library->text_start = target.text_start;
	library->text_end = target.text_end;
	memcpy(library->build_id, target.id, target.id_size);
	library->build_id_size = target.id_size;
	library->name = request->patch_name;
	library->replacements = (uint32_t)((char *)replacement - (char *)request);
	for (; pairs->old; pairs++, replacement++, library->replacement_count++) {
		void *address = dlsym(handle, pairs->replacement);

		CHECK(address);
		replacement->function = (uint32_t)((uint64_t)pairs->old - target.base);
		replacement->replacement = (uint64_t)address - loaded.base;
	}
	qsort(library + 1, library->replacement_count, sizeof *replacement, by_function);
	site = (void *)replacement;
	library->sites = (uint32_t)((char *)site - (char *)request);
	while (functions[count] && count < 64) {
		sorted[count] = (uint64_t)functions[count];
		count++;
	}
	qsort(sorted, count, sizeof *sorted, by_address);
	for (uint32_t i = 0; i < count; i++, site++) {
		site->function = (uint32_t)(sorted[i] - target.base);
		site->flags = ULP_SITE_ENTRY | every_site | (endbr ? ULP_SITE_ENDBR : 0) |
			      (stock ? ULP_SITE_PUN : 0) |
			      (sorted[i] == (uint64_t)tail ? ULP_SITE_TAIL : 0);
	}
	library->site_count = count;
	request->size = (uint32_t)((char *)site - (char *)request);
	library->flags =
		(is_program(&target) ? ULP_LIBRARY_PROGRAM : 0) | (stock ? ULP_LIBRARY_STOCK : 0);
	if (library->flags) {
		library->bodies = request->size;
		library->body_count = describe_bodies((void *)site, sorted, count, target.base);
		request->size += library->body_count * (uint32_t)sizeof(struct ulp_body);
	}
	if (stock) {
		library->puns = request->size;
		library->pun_count = describe_puns((void *)((char *)request + request->size),
						   sorted, count, target.base);
		request->size += library->pun_count * (uint32_t)sizeof(struct ulp_request_pun);
	}
	request->nonce = new_nonce();
	seal(request);
	return request;
}

const struct ulp_result *divert_once(const struct ulp_request *request)
{
	memcpy((void *)STATE->request, request, request->size);
	divert((void (*)(void))STATE->entry, request->nonce, extended_state_size(), 0);
	for (int i = 0; i < ULP_RESULTS; i++)
		if (STATE->results[i].nonce == request->nonce)
			return &STATE->results[i];
	return NULL;
}

long divert_from_call(uint64_t interrupted)
{
	/* No such request: whatever is started finds that out by itself. */
	return divert((void (*)(void))STATE->entry, new_nonce(), extended_state_size(),
		      interrupted);
}

struct ulp_result send(struct ulp_request *request)
{
	divert_once(request);
	for (int i = 0; i < 20000; i++) {
		for (int k = 0; k < ULP_RESULTS; k++) {
			const struct ulp_result *answer = &STATE->results[k];
			uint32_t stage = __atomic_load_n(&answer->stage, __ATOMIC_ACQUIRE);

			/* The worker lets go of the runtime right after its answer. */
			if (answer->nonce == request->nonce && stage != ULP_STAGE_STARTED &&
			    stage != ULP_STAGE_EMPTY &&
			    __atomic_load_n(&STATE->owner, __ATOMIC_ACQUIRE) == 0) {
				free(request);
				return *answer;
			}
		}
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	CHECK(!"an answer");
	abort();
}

void apply(unsigned char patch, const char *path, bool endbr, const void *const *functions,
	   const struct pair *pairs)
{
	struct ulp_result result = send(prepare_apply(patch, path, endbr, functions, pairs));

	if (result.stage != ULP_STAGE_DONE)
		fprintf(stderr, "apply: stage %u, error %d, %s\n", result.stage, result.error,
			result.detail);
	CHECK(result.stage == ULP_STAGE_DONE);
}

static struct ulp_request *prepare_alone(unsigned char patch, enum ulp_operation operation)
{
	struct ulp_request *request = new_request(patch, "x", operation);

	request->nonce = new_nonce();
	seal(request);
	return request;
}

struct ulp_request *prepare_settle(unsigned char patch)
{
	return prepare_alone(patch, ULP_SETTLE);
}

static void send_alone(unsigned char patch, enum ulp_operation operation, const char *name)
{
	struct ulp_result result = send(prepare_alone(patch, operation));

	if (result.stage != ULP_STAGE_DONE)
		fprintf(stderr, "%s: stage %u, error %d, %s\n", name, result.stage, result.error,
			result.detail);
	CHECK(result.stage == ULP_STAGE_DONE);
}

void revert(unsigned char patch)
{
	send_alone(patch, ULP_REVERT, "revert");
}

void settle(unsigned char patch)
{
	send_alone(patch, ULP_SETTLE, "settle");
}
