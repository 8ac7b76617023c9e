/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames without description between the thread's start and the point where it was diverted, as
 * Go's: a thread may be started from there, unless a function of the C library's that may hold a
 * lock is farther out.
 */
#include <link.h>
#include <pthread.h>
#include <time.h>

#include "harness.h"
#include "target.h"

void undescribed_callback(void *argument);
void described_callback(void *argument);

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static struct ulp_result result;

void described_callback(void *argument)
{
	(void)argument;
	/* Each with a nonce of its own: the answers stay. */
	result = *divert_once(prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs));
}

static void *alone(void *argument)
{
	undescribed_callback(argument);
	return NULL;
}

static int from_loader(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)info;
	(void)size;
	undescribed_callback(argument);
	return 1;
}

static void *under_the_loader(void *argument)
{
	dl_iterate_phdr(from_loader, argument);
	return NULL;
}

static int compare(const void *left, const void *right)
{
	undescribed_callback(NULL);
	return *(const int *)left - *(const int *)right;
}

static void *under_the_c_library(void *argument)
{
	int numbers[2] = {2, 1};

	qsort(numbers, 2, sizeof *numbers, compare);
	return argument;
}

static enum ulp_stage stage_of(void *(*body)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return (enum ulp_stage)result.stage;
}

int main(void)
{
	CHECK(stage_of(under_the_loader) == ULP_STAGE_REFUSED && result.error == ULP_UNSAFE);
	CHECK(stage_of(under_the_c_library) == ULP_STAGE_REFUSED && result.error == ULP_UNSAFE);
	CHECK(stage_of(alone) != ULP_STAGE_REFUSED);
	for (int i = 0; i < 20000 && __atomic_load_n(&STATE->owner, __ATOMIC_ACQUIRE); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	CHECK(answer(1) == 1001);
	return 0;
}
