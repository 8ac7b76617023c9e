/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hooks that somebody else undoes, as a uprobe that is taken off does, or on which somebody else is. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, twice, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

#define BREAKPOINT 0xcc
enum {
	OLD = 2,
	NEW = 1001,
	BEFORE = ULP_PAD_BEFORE,
	ENTRY = BEFORE + (TARGET_ENDBR ? 4 : 0),
	SLOT_JUMP = BEFORE - (TARGET_ENDBR ? 12 : 6),
};

static unsigned char
	*volatile code; /* volatile: a compiler does not know what stands before a function */
static unsigned char original[ULP_HOOK_CODE];

static void put(unsigned at, const unsigned char *bytes, unsigned count)
{
	long page = sysconf(_SC_PAGESIZE);
	uint64_t start = (uint64_t)&code[at] & ~(uint64_t)(page - 1);
	size_t size = (size_t)((uint64_t)&code[at] + count - start);

	CHECK(mprotect((void *)start, size, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	memcpy(&code[at], bytes, count);
	CHECK(mprotect((void *)start, size, PROT_READ | PROT_EXEC) == 0);
}

static void put_byte(unsigned at, unsigned char byte)
{
	put(at, &byte, 1);
}

static struct ulp_result apply_again(void)
{
	return send(prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs));
}

static const struct ulp_hook *shown(void)
{
	const struct ulp_hooks *table = (const void *)STATE->libraries[0].hooks;
	const struct ulp_hook *hook = (const void *)(table + 1);

	CHECK(STATE->libraries[0].hooks_count == 3 && STATE->libraries[0].hooked == 3 &&
	      table->older == 0);
	while (hook->function != (uint64_t)answer)
		hook++;
	return hook;
}

static void is_shown_as_it_is(void)
{
	const struct ulp_hook *hook = shown();

	for (unsigned i = 0; i < ULP_HOOK_CODE; i++) {
		if (hook->relied & 1u << i)
			CHECK(hook->code[i] == code[i]);
		if (i < ENTRY + ULP_PAD_ENTRY)
			CHECK(hook->original[i] == original[i]);
	}
	CHECK(*(const uint64_t *)hook->slot == hook->stub);
}

/* The hook works again, and every thread has to come in anew. */
static void is_put_back(void)
{
	uint64_t before = STATE->domains[0].universe;
	struct ulp_result result = apply_again();

	CHECK(result.error == ULP_OK && result.stage == ULP_STAGE_DONE);
	CHECK(answer(1) == NEW);
	CHECK(result.universe == before + 1 && STATE->domains[0].universe == before + 1 &&
	      STATE->domains[0].hooked_again == before + 1);
	is_shown_as_it_is();
	CHECK(apply_again().error == ULP_ALREADY_APPLIED);
}

static void is_refused(void)
{
	uint64_t before = STATE->domains[0].universe;
	unsigned char found[ULP_HOOK_CODE];
	struct ulp_result result;

	memcpy(found, code, sizeof found);
	result = apply_again();
	CHECK(result.error == ULP_UNEXPECTED_CODE && strstr(result.detail, "function at 0x"));
	CHECK(memcmp(found, code, sizeof found) == 0);
	CHECK(STATE->domains[0].universe == before);
}

static void somebody_was_there_before(void)
{
	static const unsigned places[] = {ENTRY, ENTRY + 1, SLOT_JUMP, BEFORE - 1};

	for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
		put_byte(places[i], BREAKPOINT);
		CHECK(apply_again().error == ULP_UNEXPECTED_CODE);
		CHECK(code[places[i]] == BREAKPOINT);
		put_byte(places[i], original[places[i]]);
		CHECK(memcmp(code, original, ENTRY + ULP_PAD_ENTRY) == 0);
		CHECK(STATE->patch_count == 0);
	}
}

static void single_bytes_are_put_back(void)
{
	static const unsigned places[] = {ENTRY, ENTRY + 1, SLOT_JUMP};

	for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
		unsigned char ours = code[places[i]];

		put_byte(places[i], BREAKPOINT);
		is_refused();
		put_byte(places[i], original[places[i]]);
		is_put_back();
		CHECK(code[places[i]] == ours);
	}
}

static void the_whole_of_it_is_put_back(void)
{
	put(0, original, ENTRY + ULP_PAD_ENTRY);
	CHECK(answer(1) == OLD);
	is_put_back();
}

/* A thread may be between two of the nops: nothing may take their place. */
static void what_threads_may_be_executing_stays(void)
{
	unsigned char ours[6];

	memcpy(ours, &code[SLOT_JUMP], sizeof ours);
	put(SLOT_JUMP, &original[SLOT_JUMP], sizeof ours);
	is_refused();
	put(SLOT_JUMP, ours, sizeof ours);
	CHECK(apply_again().error == ULP_ALREADY_APPLIED);
}

static void a_slot_is_put_back(void)
{
	*(uint64_t *)shown()->slot = (uint64_t)&code[ENTRY + ULP_PAD_ENTRY];
	CHECK(answer(1) == OLD);
	is_put_back();
}

static void other_code_stays(void)
{
	unsigned char ours = code[ENTRY];

	put_byte(ENTRY, 0xf4);
	is_refused();
	put_byte(ENTRY, ours);
}

/* An apply after a revert relies on the hooks that are there. */
static void reverted_and_applied(void)
{
	put_byte(ENTRY, original[ENTRY]);
	revert(1);
	CHECK(answer(1) == OLD);
	CHECK(code[ENTRY] == original[ENTRY]);
	put_byte(ENTRY, BREAKPOINT);
	is_refused();
	put_byte(ENTRY, original[ENTRY]);
	CHECK(apply_again().error == ULP_OK);
	CHECK(answer(1) == NEW);
	is_shown_as_it_is();
}

int main(void)
{
	code = (unsigned char *)((uint64_t)answer - BEFORE);
	memcpy(original, code, sizeof original);
	somebody_was_there_before();
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer(1) == NEW);
	is_shown_as_it_is();
	CHECK(apply_again().error == ULP_ALREADY_APPLIED);
	single_bytes_are_put_back();
	the_whole_of_it_is_put_back();
	what_threads_may_be_executing_stays();
	a_slot_is_put_back();
	other_code_stays();
	reverted_and_applied();
	return 0;
}
