/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions without padding: applied, the old version by its cell, reverted, undone, and all of it again. */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>

#include "stock.h"
#include "target.h"

static const struct pair newest_pairs[] = {{stock_plain, "newest_answer"}, {NULL, NULL}};

enum {
	FUNCTIONS = sizeof stock_functions / sizeof *stock_functions - 1,
	CODE = 16
};

static unsigned char original[FUNCTIONS][CODE];

static void nothing(void *argument)
{
	(void)argument;
}

static void answers(int plain, int relative, int jump, int frame, int pushes, int endbr)
{
	CHECK(stock_plain(10) == plain);
	CHECK(stock_relative(10) == relative);
	CHECK(stock_jump(10) == jump);
	CHECK(stock_frame(10) == frame);
	CHECK(stock_pushes(nothing, NULL, 10) == pushes);
	CHECK(stock_endbr(10) == endbr);
}

static void old_answers(void)
{
	answers(11, 17, 12, 13, 14, 15);
}

static void new_answers(void)
{
	answers(1010, 1010, 1010, 1010, 1010, 1010);
}

static unsigned offset_of_site(const void *function)
{
	for (const struct stock_site *site = stock_sites; site->function; site++)
		if (site->function == function)
			return site->offset;
	abort();
}

/* Of the first bytes of every function, up to where the next may begin, one is another one, or none. */
static void only_the_first_byte_differs(bool hooked)
{
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		const unsigned char *code = stock_functions[i];

		for (unsigned k = 0; k < CODE; k++) {
			bool site = hooked && k == offset_of_site(stock_functions[i]);

			CHECK(code[k] == (site ? 0xe9 : original[i][k]));
		}
	}
}

static const struct ulp_hook *shown(const void *function)
{
	const struct ulp_hooks *table = (const void *)STATE->libraries[0].hooks;
	uint64_t count = STATE->libraries[0].hooks_count;

	for (; table; count = table->older_count, table = (const void *)table->older)
		for (uint64_t i = 0; i < count; i++) {
			const struct ulp_hook *hook = (const struct ulp_hook *)(table + 1) + i;

			if (hook->function == (uint64_t)function)
				return hook;
		}
	abort();
}

static void is_shown(bool hooked)
{
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		const struct ulp_hook *hook = shown(stock_functions[i]);
		int32_t displacement;

		memcpy(&displacement, (const void *)(hook->start + 1), sizeof displacement);
		CHECK(hook->kind == ULP_HOOK_PUN);
		CHECK(hook->start ==
		      (uint64_t)stock_functions[i] + offset_of_site(stock_functions[i]));
		CHECK(hook->relied == (hooked ? 0x1fu : 0));
		CHECK(hook->landing == hook->start + 5 + (uint64_t)displacement);
		CHECK(*(const uint64_t *)hook->slot == hook->stub);
	}
}

/* As the core does when it has seen every thread outside. */
static void settle_all(unsigned char patch)
{
	settled = (uint32_t)STATE->domains[0].universe;
	settled_keeps = STATE->domains[0].keeps;
	settle(patch);
	settled = 0;
}

static void again_and_again(void)
{
	for (int i = 0; i < 3; i++) {
		apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
		new_answers();
		only_the_first_byte_differs(true);
		is_shown(true);
		apply(2, PATCH_PATH, false, stock_functions, newest_pairs);
		CHECK(stock_plain(10) == 2010);
		revert(2);
		new_answers();
		revert(1);
		old_answers();
		/* A thread might still be inside, as far as anybody knows. */
		only_the_first_byte_differs(true);
		settle_all(1);
		only_the_first_byte_differs(false);
		is_shown(false);
		old_answers();
	}
}

/* While anything is applied every hook is needed: it tells who comes in. */
static void one_of_two_reverted(void)
{
	apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
	apply(2, PATCH_PATH, false, stock_functions, newest_pairs);
	revert(1);
	settle_all(1);
	only_the_first_byte_differs(true);
	CHECK(stock_plain(10) == 2010 && stock_jump(10) == 12);
	revert(2);
	settle_all(2);
	only_the_first_byte_differs(false);
}

static sem_t inside, go_on;

static void stay(void *argument)
{
	(void)argument;
	sem_post(&inside);
	sem_wait(&go_on);
}

struct visit {
	int within;
	int afterwards;
};

static void *visit(void *argument)
{
	struct visit *result = argument;

	result->within = stock_outer(stay, NULL, 10);
	result->afterwards = stock_plain(10);
	return NULL;
}

static pthread_t begin(struct visit *result)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, visit, result) == 0);
	sem_wait(&inside);
	return thread;
}

static void end(pthread_t thread)
{
	sem_post(&go_on);
	CHECK(pthread_join(thread, NULL) == 0);
}

/*
 * A thread inside keeps its version, also one that came while nothing was hooked and everything was settled: seen to
 * mix without ulp_universe_grow() in hook.c.
 */
static void threads_inside(void)
{
	struct visit seen;
	pthread_t thread = begin(&seen);

	apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
	CHECK(stock_plain(10) == 1010);
	end(thread);
	CHECK(seen.within == 11 && seen.afterwards == 1010);

	thread = begin(&seen);
	revert(1);
	CHECK(stock_plain(10) == 11);
	end(thread);
	CHECK(seen.within == 1010 && seen.afterwards == 11);

	settle_all(1);
	only_the_first_byte_differs(false);
	thread = begin(&seen);
	apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
	CHECK(stock_plain(10) == 1010);
	end(thread);
	CHECK(seen.within == 11 && seen.afterwards == 1010);
	revert(1);
	settle_all(1);
	only_the_first_byte_differs(false);
}

/* Somebody else's byte anywhere in the function: nothing is written. */
static void somebody_is_there(void)
{
	unsigned char *code = (unsigned char *)(uint64_t)stock_frame;
	void *page = (void *)((uint64_t)code & ~4095ull);
	struct ulp_result result;

	CHECK(mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	for (unsigned at = 0; at < 12; at += 4) {
		code[at] = 0xcc;
		result = send(prepare_apply(1, PATCH_PATH, false, stock_functions, stock_pairs));
		CHECK(result.error == ULP_UNEXPECTED_CODE &&
		      strstr(result.detail, "function at 0x"));
		code[at] = original[3][at];
		only_the_first_byte_differs(false);
	}
	CHECK(mprotect(page, 8192, PROT_READ | PROT_EXEC) == 0);
	old_answers();
}

/* What is mapped already stays; nothing is left behind, and the next one serves. */
static void landing_taken(void)
{
	uint64_t landing = (uint64_t)stock_plain + 5 - 0x3fffffff, page = landing & ~4095ull;
	void *taken = mmap((void *)page, 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	struct ulp_result result;

	CHECK(taken == (void *)page);
	result = send(prepare_apply(1, PATCH_PATH, false, stock_functions, stock_pairs));
	CHECK(result.error == ULP_NO_LANDING && strstr(result.detail, "function at 0x"));
	only_the_first_byte_differs(false);
	CHECK(STATE->patch_count == 0 && STATE->stubs_used == 0);
	CHECK(munmap(taken, 4096) == 0);
	/* Nothing of it was left where other functions would have landed. */
	page = ((uint64_t)stock_jump + 5 - 0x3f000000 + 0) & ~4095ull;
	taken = mmap((void *)page, 4096, PROT_READ,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(taken == (void *)page && munmap(taken, 4096) == 0);
}

/*
 * The landings of all functions but the last one are made and given up, and so is the gap.  Their places in the
 * table serve again: seen to end with ULP_FULL at the 1,025th time.
 */
static void in_vain(void)
{
	static const void *const functions[] = {stock_plain, stock_relative, stock_jump,
						stock_frame, stock_pushes,   stock_endbr,
						stock_short, stock_outer,    NULL};
	const unsigned char *gap = (const unsigned char *)(uint64_t)stock_short + 8;
	void *page = (void *)(((uint64_t)stock_outer + 6 - 0x3bffffff) & ~4095ull);
	void *taken = mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			   -1, 0);

	CHECK(taken == page);
	for (int i = 0; i < 1200; i++)
		CHECK(send(prepare_apply(1, PATCH_PATH, false, functions, stock_pairs)).error ==
		      ULP_NO_LANDING);
	CHECK(memcmp(gap, "\x90\x90\x90\x90\x90", 5) == 0);
	CHECK(munmap(taken, 4096) == 0);
}

/* The first place will not do; at the second all bytes of the instruction change, by one store. */
static void a_wider_jump(void)
{
	static const void *const wide[] = {stock_wide, NULL};
	static const struct pair wide_pairs[] = {{stock_wide, "new_answer"}, {NULL, NULL}};
	const unsigned char *code = (const unsigned char *)(uint64_t)stock_wide;

	for (int i = 0; i < 2; i++) {
		apply(4, PATCH_PATH, false, wide, wide_pairs);
		CHECK(memcmp(code, "\xe9\0\0\0\xc5", 5) == 0);
		CHECK(stock_wide(10) == 1010);
		revert(4);
		CHECK(stock_wide(10) == 16);
		settle_all(4);
		CHECK(memcmp(code, "\xb8\1\0\0\0", 5) == 0);
		CHECK(stock_wide(10) == 16);
	}
}

/* Two bytes lead to where nobody is, and from there a jump leads anywhere: it stays, for who is on the way. */
static void by_way_of_a_gap(void)
{
	static const void *const alone[] = {stock_short, NULL};
	static const struct pair pairs[] = {{stock_short, "new_answer"}, {NULL, NULL}};
	unsigned char *code = (unsigned char *)(uint64_t)stock_short;
	void *page = (void *)((uint64_t)code & ~4095ull);
	const struct ulp_hook *hook;

	/* Whoever has put something there keeps it. */
	CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	code[10] = 0xcc;
	CHECK(send(prepare_apply(5, PATCH_PATH, false, alone, pairs)).error == ULP_UNEXPECTED_CODE);
	code[10] = 0x90;
	CHECK(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(stock_short(10) == 17);
		apply(5, PATCH_PATH, false, alone, pairs);
		CHECK(memcmp(code, "\xeb\6\x8d\x47\7\xc3\x90\x90\xe9\0\0\0\xc6", 13) == 0);
		CHECK(stock_short(10) == 1010);
		hook = shown(stock_short);
		CHECK(hook->kind == ULP_HOOK_SHORT && hook->relied == 3);
		CHECK(hook->landing == (uint64_t)code + 13 - 0x3a000000);
		CHECK(memcmp(&hook->code[2], code + 8, 5) == 0 && hook->original[2] == 0x90);
		revert(5);
		CHECK(stock_short(10) == 17);
		settle_all(5);
		CHECK(memcmp(code, "\x31\xc0\x8d\x47\7\xc3\x90\x90\xe9\0\0\0\xc6", 13) == 0);
	}
}

/* The program maps something over a landing: that is no hook any more, and nobody repairs it. */
static void landing_lost(void)
{
	const struct ulp_hook *hook = shown(stock_plain);
	void *page = (void *)(hook->landing & ~4095ull);
	struct ulp_result result;

	apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
	CHECK(mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == page);
	result = send(prepare_apply(1, PATCH_PATH, false, stock_functions, stock_pairs));
	CHECK(result.error == ULP_UNEXPECTED_CODE);
	revert(1);
	settle_all(1);
	only_the_first_byte_differs(false);
	old_answers();
	result = send(prepare_apply(1, PATCH_PATH, false, stock_functions, stock_pairs));
	CHECK(result.error == ULP_UNEXPECTED_CODE);
	only_the_first_byte_differs(false);
}

int main(void)
{
	stock = stock_sites;
	/* The patch library needs that library, which is none of the livepatch's targets. */
	CHECK(answer(1) == 2);
	sem_init(&inside, 0, 0);
	sem_init(&go_on, 0, 0);
	for (unsigned i = 0; i < FUNCTIONS; i++)
		memcpy(original[i], stock_functions[i], CODE);
	old_answers();
	landing_taken();
	in_vain();
	somebody_is_there();
	again_and_again();
	one_of_two_reverted();
	threads_inside();
	CHECK(STATE->domains[0].unprovable == 0);
	a_wider_jump();
	by_way_of_a_gap();
	landing_lost();
	return 0;
}
