/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program brings its own allocator, which waits with its lock held: nothing can be started
 * from there.  Its functions leave by jumps, so that only the call tells whose frame it is.
 */
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"
#include "tracer.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

enum place {
	OUTSIDE_ALLOCATOR,
	IN_MALLOC,
	BEHIND_A_JUMP,
};

static char heap[64u << 20] __attribute__((aligned(16)));
static size_t used;
static enum place wait_in;
static volatile int *waiting; /* shared with the tracer */

static void wait_long(void)
{
	const struct timespec long_time = {.tv_sec = 100};

	*waiting = 1;
	nanosleep(&long_time, NULL);
	__asm__ volatile("");
}

static __attribute__((noinline)) void *take(size_t size)
{
	char *memory = heap + __atomic_fetch_add(&used, (size + 31) & ~15ul, __ATOMIC_SEQ_CST);

	if (wait_in == BEHIND_A_JUMP)
		wait_long();
	*(size_t *)memory = size;
	return memory + 16;
}

/* Takes and leaves by a jump. */
__attribute__((optimize("O2"))) void *malloc(size_t size)
{
	if (wait_in == IN_MALLOC)
		wait_long();
	return take(size);
}

void *calloc(size_t count, size_t size)
{
	return malloc(count * size);
}

void *realloc(void *old, size_t size)
{
	char *memory = malloc(size);
	size_t old_size = old ? ((size_t *)old)[-2] : 0;

	for (size_t i = 0; i < old_size && i < size; i++)
		memory[i] = ((char *)old)[i];
	return memory;
}

void free(void *memory)
{
	(void)memory;
}

static struct ulp_result divert_waiting(const struct ulp_request *request, enum place place)
{
	struct ulp_result result;
	pid_t child;

	*waiting = 0;
	child = fork();
	if (child == 0) {
		void *(*volatile allocate)(size_t) = malloc;

		wait_in = place;
		if (place == OUTSIDE_ALLOCATOR)
			wait_long();
		else if (place == IN_MALLOC)
			allocate(10);
		else
			_exit(strdup("by name") == NULL);
		_exit(1);
	}
	CHECK(child > 0);
	while (!*waiting)
		usleep(100);
	usleep(20000); /* until it is in the kernel */
	divert_process(child, request->nonce);
	result = answer_of_process(child, request->nonce);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	return result;
}

int main(void)
{
	struct ulp_request *request;
	struct ulp_result result;

	waiting = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(waiting != MAP_FAILED);
	request = prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	memcpy((void *)STATE->request, request, request->size);
	result = divert_waiting(request, OUTSIDE_ALLOCATOR);
	CHECK(result.stage == ULP_STAGE_DONE);
	result = divert_waiting(request, IN_MALLOC);
	CHECK(result.stage == ULP_STAGE_REFUSED && result.error == ULP_UNSAFE);
	result = divert_waiting(request, BEHIND_A_JUMP);
	CHECK(result.stage == ULP_STAGE_REFUSED && result.error == ULP_UNSAFE);
	CHECK(strstr(result.detail, "allocator") != NULL);
	return 0;
}
