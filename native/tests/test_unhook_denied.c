/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hooks that can't be taken away stay: they are shown as they are, old functions run, and the next
 * time that everybody is outside those go that can.  Seen to fail with hooks shown as gone that are
 * there, and with hooks that are gone taken for hooked as long as another one stays.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "stock.h"
#include "target.h"

/* Those with a pun that changes one byte, and last one of which several bytes change at once. */
#define ALONE (sizeof stock_functions / sizeof *stock_functions - 1)
static const void *functions[ALONE + 2];
static struct pair pairs[sizeof stock_pairs / sizeof *stock_pairs + 1];
static unsigned char original[ALONE + 1];

static const unsigned char *site_of(const void *function)
{
	const struct stock_site *site = stock_sites;

	while (site->function != function)
		site++;
	return (const unsigned char *)function + site->offset;
}

static void take_all(void)
{
	memcpy(functions, stock_functions, ALONE * sizeof *functions);
	functions[ALONE] = stock_wide;
	memcpy(pairs, stock_pairs, sizeof stock_pairs);
	pairs[sizeof stock_pairs / sizeof *stock_pairs - 1] =
		(struct pair){stock_wide, "new_answer"};
	for (unsigned i = 0; i <= ALONE; i++)
		original[i] = *site_of(functions[i]);
}

static void is_shown(const void *function, bool hooked)
{
	const struct ulp_hooks *table = (const void *)STATE->libraries[0].hooks;
	const struct ulp_hook *hook = (const void *)(table + 1);

	CHECK(STATE->libraries[0].hooks_count == ALONE + 1);
	while (hook->function != (uint64_t)function)
		hook++;
	CHECK(!hook->relied == !hooked);
}

/* So it is in the code, and in what the core reads. */
static void are_hooked(bool alone, bool wide)
{
	for (unsigned i = 0; i <= ALONE; i++) {
		bool hooked = i < ALONE ? alone : wide;

		CHECK(*site_of(functions[i]) == (hooked ? 0xe9 : original[i]));
		is_shown(functions[i], hooked);
	}
}

static void run_old_functions(void)
{
	CHECK(stock_plain(10) == 11 && stock_wide(10) == 16);
	CHECK(STATE->patches[0].status == ULP_PATCH_REVERTED);
}

static void run_new_functions(void)
{
	CHECK(stock_plain(10) == 1010 && stock_wide(10) == 1010);
}

/* No page of code becomes writable. */
static void deny_mprotect(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_READ | PROT_WRITE | PROT_EXEC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Without a descriptor to spare, nobody opens /proc/self/mem. */
static void allow_descriptors(bool allowed)
{
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = allowed ? limit.rlim_max : 0;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static struct ulp_result settle_all(void)
{
	struct ulp_request *request;

	settled = (uint32_t)STATE->domains[0].universe;
	settled_keeps = STATE->domains[0].keeps;
	request = prepare_settle(1);
	settled = 0;
	return send(request);
}

static void settling_fails(void)
{
	struct ulp_result result = settle_all();

	CHECK(result.stage == ULP_STAGE_FAILED && result.error == ULP_TEXT_UNWRITABLE);
	run_old_functions();
}

int main(void)
{
	stock = stock_sites;
	/* The patch library needs that library, which is none of the livepatch's targets. */
	CHECK(answer(1) == 2);
	take_all();
	apply(1, PATCH_PATH, false, functions, pairs);
	run_new_functions();
	revert(1);
	deny_mprotect();
	for (int i = 0; i < 2; i++) {
		allow_descriptors(false);
		settling_fails();
		allow_descriptors(true);
		are_hooked(true, true);
	}
	/* They serve the next apply as well. */
	apply(1, PATCH_PATH, false, functions, pairs);
	run_new_functions();
	revert(1);
	/* Where some can be taken away and others not, each is as it is shown, and is hooked where it is not. */
	for (int i = 0; i < 2; i++) {
		settling_fails();
		are_hooked(false, true);
		apply(1, PATCH_PATH, false, functions, pairs);
		are_hooked(true, true);
		run_new_functions();
		revert(1);
		run_old_functions();
	}
	return 0;
}
