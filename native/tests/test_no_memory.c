/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process is out of memory at one moment, whichever: the request fails, nothing has changed,
 * and a later one succeeds.  Seen to fail with ULP_UNEXPECTED_CODE without take_back() in hook.c.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

#define MOST 500

/* denying_malloc.c: so many more allocations are granted, then one is not; negative: all are. */
extern int granted;

enum outcome {
	DONE = 10,
	DONE_WITHOUT, /* although the one allocation was denied */
	FAILED,
};

static enum outcome attempt(int number)
{
	struct ulp_request *request = prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	int before = answer(1);
	struct ulp_result result;
	int left;

	__atomic_store_n(&granted, number, __ATOMIC_SEQ_CST);
	result = send(request);
	left = __atomic_exchange_n(&granted, -1, __ATOMIC_SEQ_CST);
	if (result.stage == ULP_STAGE_DONE) {
		CHECK(answer(1) == 1001);
		return left < 0 ? DONE_WITHOUT : DONE;
	}
	CHECK(result.error == ULP_NO_MEMORY || result.error == ULP_LOAD_FAILED ||
	      result.error == ULP_LIBRARY_CHANGED || result.error == ULP_NO_THREAD);
	CHECK(answer(1) == before);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer(1) == 1001);
	return FAILED;
}

/* Each in a process of its own, that is as nobody has touched it. */
static enum outcome attempt_apart(int number)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(attempt(number));
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) >= DONE);
	return WEXITSTATUS(status);
}

int main(void)
{
	enum outcome outcome = FAILED;
	int failed = 0;

	for (int number = 0; number < MOST && outcome != DONE; number++) {
		outcome = attempt_apart(number);
		failed += outcome == FAILED;
	}
	CHECK(outcome == DONE && failed > 0);
	return 0;
}
