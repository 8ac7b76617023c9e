/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A child between vfork() and exec has its parent's memory, but is not its parent's thread.
 * Nor is a thread that was made past the C library, without a thread control block of its own.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static char stack[1 << 18] __attribute__((aligned(16)));

static int divert_in_thread(void *request)
{
	divert_once(request);
	return 0;
}

/* Without CLONE_SETTLS: on the thread control block of the caller, who waits meanwhile. */
static void divert_in_bare_thread(struct ulp_request *request)
{
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_THREAD | CLONE_SIGHAND;

	CHECK(clone(divert_in_thread, stack + sizeof stack, flags, request) > 0);
}

static void divert_in_child(struct ulp_request *request)
{
	pid_t child = vfork();
	int status;

	if (child == 0) {
		divert_once(request);
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static void is_refused(unsigned char patch, void (*divert)(struct ulp_request *))
{
	struct ulp_request *request =
		prepare_apply(patch, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	const struct ulp_result *result = NULL;

	divert(request);
	for (int i = 0; i < ULP_RESULTS; i++)
		if (STATE->results[i].nonce == request->nonce)
			result = &STATE->results[i];
	CHECK(result != NULL);
	CHECK(result->stage == ULP_STAGE_REFUSED && result->error == ULP_UNSAFE);
	CHECK(strstr(result->detail, "between vfork and exec") != NULL);
	CHECK(strstr(result->detail, "made by clone() past the C library") != NULL);
	free(request);
}

int main(void)
{
	is_refused(1, divert_in_child);
	is_refused(2, divert_in_bare_thread);
	return 0;
}
