/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A child between vfork() and exec has its parent's memory, but is not its parent's thread. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

int main(void)
{
	struct ulp_request *request = prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	const struct ulp_result *result;
	int status;
	pid_t child;

	child = vfork();
	if (child == 0) {
		divert_once(request);
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	result = divert_once(request);
	CHECK(result != NULL);
	/* The first of the two answers is the child's. */
	CHECK(result->stage == ULP_STAGE_REFUSED && result->error == ULP_UNSAFE);
	CHECK(strstr(result->detail, "vfork") != NULL);
	return 0;
}
