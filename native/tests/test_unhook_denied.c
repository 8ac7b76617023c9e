/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hooks that can't be taken away stay: they are shown as they are, old functions run, and the next
 * time that everybody is outside they go.  Seen to fail with hooks shown as gone that are there.
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

static unsigned char original[sizeof stock_functions / sizeof *stock_functions - 1];

static void are_hooked(bool hooked)
{
	for (unsigned i = 0; i < sizeof original; i++) {
		const struct stock_site *site = stock_sites;
		const unsigned char *code = stock_functions[i];

		while (site->function != code)
			site++;
		CHECK(code[site->offset] == (hooked ? 0xe9 : original[i]));
	}
}

/* What the core reads says the same. */
static void are_shown(bool hooked)
{
	const struct ulp_hooks *table = (const void *)STATE->libraries[0].hooks;

	for (uint64_t i = 0; i < STATE->libraries[0].hooks_count; i++)
		CHECK(!((const struct ulp_hook *)(table + 1))[i].relied == !hooked);
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

int main(void)
{
	struct ulp_result result;

	stock = stock_sites;
	/* The patch library needs that library, which is none of the livepatch's targets. */
	CHECK(answer(1) == 2);
	for (unsigned i = 0; i < sizeof original; i++)
		for (const struct stock_site *site = stock_sites; site->function; site++)
			if (site->function == stock_functions[i])
				original[i] = ((const unsigned char *)site->function)[site->offset];
	apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
	CHECK(stock_plain(10) == 1010);
	revert(1);
	deny_mprotect();
	for (int i = 0; i < 2; i++) {
		allow_descriptors(false);
		result = settle_all();
		allow_descriptors(true);
		CHECK(result.stage == ULP_STAGE_FAILED && result.error == ULP_TEXT_UNWRITABLE);
		CHECK(stock_plain(10) == 11 && STATE->patches[0].status == ULP_PATCH_REVERTED);
		are_hooked(true);
		are_shown(true);
	}
	/* They serve the next apply as well. */
	apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
	CHECK(stock_plain(10) == 1010);
	revert(1);
	CHECK(settle_all().stage == ULP_STAGE_DONE);
	are_hooked(false);
	are_shown(false);
	CHECK(stock_plain(10) == 11);
	return 0;
}
