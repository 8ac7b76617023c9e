/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests without the tool: a thread diverts itself as the tool diverts one (native/tests/divert.S). */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ulp/abi.h>

#include "../../../native/tests/extended_state.h"
#include "cycles.h"

enum {
	MOST_HOOKS = 4096,
	MOST_TRIES = 100,
	PATIENCE_US = 120 * 1000 * 1000,
	PAUSE_US = 50
};

long divert(void (*entry)(void), uint64_t nonce, size_t xstate_size, uint64_t interrupted);
uint64_t divert_flags = ULP_BLOCK_MAY_COPY;

static volatile const struct ulp_state *state;

/* What stood at each site before anything was hooked. */
static struct {
	uint64_t start;
	unsigned char code[ULP_PUN_CODE];
} sites[MOST_HOOKS];
static unsigned site_count;

static unsigned hooked;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static struct ulp_request *read_request(const char *folder, const char *name)
{
	char path[4096];
	long size;
	struct ulp_request *request;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < (long)sizeof *request)
		fail("%s is no request", path);
	rewind(file);
	request = malloc((size_t)size);
	if (!request || fread(request, 1, (size_t)size, file) != (size_t)size)
		fail("%s cannot be read", path);
	fclose(file);
	return request;
}

/* What the checksum covers lies behind the head, so the head can say what is true now. */
static void carry_out(struct ulp_request *request, const char *name, uint64_t settled,
		      uint64_t settled_keeps)
{
	static uint64_t nonce = 1ull << 32;
	const struct timespec pause = {.tv_nsec = PAUSE_US * 1000};

	request->nonce = ++nonce;
	request->settled = (uint32_t)settled;
	request->settled_keeps = settled_keeps;
	request->excepted_count = 0;
	memcpy((void *)state->request, request, request->size);
	divert((void (*)(void))state->entry, nonce, extended_state_size(), 0);
	for (long waited = 0; waited < PATIENCE_US; waited += PAUSE_US) {
		for (unsigned i = 0; i < ULP_RESULTS; i++) {
			const struct ulp_result *result = (const void *)&state->results[i];
			uint32_t stage = __atomic_load_n(&result->stage, __ATOMIC_ACQUIRE);

			if (result->nonce != nonce || stage == ULP_STAGE_EMPTY ||
			    stage == ULP_STAGE_STARTED ||
			    __atomic_load_n(&state->owner, __ATOMIC_ACQUIRE))
				continue;
			if (stage != ULP_STAGE_DONE)
				fail("%s: stage %u, error %d, %s", name, stage, result->error,
				     result->detail);
			return;
		}
		nanosleep(&pause, NULL);
	}
	fail("%s: no answer", name);
}

/* Says what is settled, as the tool does once it has seen each thread outside. */
static void settle(struct ulp_request *request, void (*all_were_outside)(void))
{
	uint64_t universe = state->domains[0].universe, keeps = state->domains[0].keeps;

	all_were_outside();
	carry_out(request, "settle", universe, keeps);
}

static void each_hook(void (*look)(const struct ulp_hook *hook))
{
	for (uint32_t i = 0; i < state->library_count; i++) {
		uint64_t hooks = state->libraries[i].hooks, count = state->libraries[i].hooks_count;

		while (hooks) {
			const struct ulp_hooks *table = (const void *)hooks;
			const struct ulp_hook *hook = (const void *)(table + 1);

			for (uint64_t k = 0; k < count; k++)
				look(&hook[k]);
			hooks = table->older;
			count = table->older_count;
		}
	}
}

static void note(const struct ulp_hook *hook)
{
	if (site_count == MOST_HOOKS || hook->relied)
		fail("the function at %#lx is hooked, or is one too many", (long)hook->function);
	sites[site_count].start = hook->start;
	memcpy(sites[site_count++].code, (const void *)hook->start, ULP_PUN_CODE);
}

static void require_on(const struct ulp_hook *hook)
{
	unsigned size = hook->kind == ULP_HOOK_SHORT ? 2 : 5;

	if (!hook->relied || memcmp((const void *)hook->start, hook->code, size) != 0)
		fail("the function at %#lx is not hooked", (long)hook->function);
}

static void note_on(const struct ulp_hook *hook)
{
	hooked += hook->relied != 0;
}

/* More than once, where a thread has kept its number while it was waited for: its entry could prove nothing. */
static void settle_until_off(struct ulp_request *request, void (*all_were_outside)(void))
{
	for (unsigned i = 0; i < MOST_TRIES; i++) {
		settle(request, all_were_outside);
		hooked = 0;
		each_hook(note_on);
		if (!hooked)
			return;
	}
	fail("%u functions are still hooked", hooked);
}

static void require_original_code(void)
{
	for (unsigned i = 0; i < site_count; i++)
		if (memcmp((const void *)sites[i].start, sites[i].code, ULP_PUN_CODE) != 0)
			fail("the code at %#lx is not what it was", (long)sites[i].start);
}

void cycle(unsigned long count, const char *folder, void (*all_were_outside)(void),
	   bool (*is_patched)(void))
{
	struct ulp_request *apply = read_request(folder, "apply"),
			   *revert = read_request(folder, "revert"),
			   *settling = read_request(folder, "settle");

	state = dlsym(RTLD_DEFAULT, "ulp_state");
	if (!state || state->magic != ULP_STATE_MAGIC || state->domain_count != 1)
		fail("the runtime is not there, or knows another number of domains than one");
	if (!site_count)
		each_hook(note);
	for (unsigned long i = 0; i < count; i++) {
		carry_out(apply, "apply", 0, 0);
		each_hook(require_on);
		if (!is_patched())
			fail("the replaced functions are the old ones after apply %lu", i);
		settle(settling, all_were_outside);
		carry_out(revert, "revert", 0, 0);
		if (is_patched())
			fail("the replaced functions are the new ones after revert %lu", i);
		settle_until_off(settling, all_were_outside);
		require_original_code();
	}
	free(apply);
	free(revert);
	free(settling);
}
