/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A forked child's thread has its parent's numbers under another ID: it must be found by that. */
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static const struct ulp_thread *record_of(pid_t tid)
{
	const struct ulp_thread *threads = (const struct ulp_thread *)STATE->threads;
	const struct ulp_thread *set = threads + (uint64_t)tid % ULP_THREAD_SETS * ULP_THREAD_WAYS;

	for (int way = 0; way < ULP_THREAD_WAYS; way++)
		if (set[way].tid == (uint64_t)tid)
			return &set[way];
	return NULL;
}

/* The calling thread's number in the domain, as the core reads it; -1: it is not to be found. */
static int64_t number(void)
{
	const struct ulp_thread *record = record_of(getpid());

	if (!record)
		return -1;
	return *(const int64_t *)(record->thread_pointer + (uint64_t)STATE->domains[0].tls_offset);
}

int main(void)
{
	pid_t child;
	int status;

	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(number() == -1);
	CHECK(answer(1) == 1001);
	CHECK(number() == 1);
	child = fork();
	if (child == 0)
		_exit(number() == 1 ? 0 : 1);
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	return 0;
}
