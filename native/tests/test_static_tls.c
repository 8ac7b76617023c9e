/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Thread-local storage takes its room from a thread's stack, and may be larger than the worker's. */
#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static __thread volatile char large[600u << 10];

int main(void)
{
	large[0] = 1;
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer(1) == 1001);
	return 0;
}
