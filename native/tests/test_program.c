/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Functions of the program itself.  Its main() is on the stack all the time, so what counts as
 * inside are the functions that are replaced, from the livepatch on that replaces them.
 */
#include <pthread.h>

#include "harness.h"
#include "target.h"

#define PADDED __attribute__((noipa, aligned(16), patchable_function_entry(16, 14)))

int inner(int question);
int outer(void (*callback)(void), int question);
int late(void (*callback)(void), int question);

PADDED int inner(int question)
{
	return question + 1;
}

PADDED int outer(void (*callback)(void), int question)
{
	callback();
	int result = inner(question);

	__asm__ volatile("" ::: "memory");
	return result;
}

PADDED int late(void (*callback)(void), int question)
{
	callback();
	int result = inner(question);

	__asm__ volatile("" ::: "memory");
	return result;
}

static const void *const inner_and_outer[] = {inner, outer, NULL};
static const void *const all[] = {inner, outer, late, NULL};
static const struct pair to_new[] = {{inner, "new_answer"}, {NULL, NULL}};
static const struct pair to_newest[] = {{inner, "newest_answer"}, {NULL, NULL}};

static pthread_barrier_t barrier;

static void stay(void)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
}

struct visit {
	int (*function)(void (*callback)(void), int question);
	int inside; /* what inner() gives after the wait */
	int after;
};

static void *visit(void *argument)
{
	struct visit *visit = argument;

	visit->inside = visit->function(stay, 1);
	visit->after = inner(1);
	return NULL;
}

static void begin(pthread_t *thread, struct visit *what)
{
	CHECK(pthread_create(thread, NULL, visit, what) == 0);
	pthread_barrier_wait(&barrier);
}

static void end(pthread_t thread)
{
	pthread_barrier_wait(&barrier);
	CHECK(pthread_join(thread, NULL) == 0);
}

int main(void)
{
	struct visit in_outer = {.function = outer}, in_late = {.function = late};
	pthread_t outer_thread, late_thread;

	/* The patch library needs that library, which is none of the livepatch's targets. */
	CHECK(answer(1) == 2);
	pthread_barrier_init(&barrier, NULL, 2);
	begin(&outer_thread, &in_outer);
	apply(1, PATCH_PATH, false, inner_and_outer, to_new);
	CHECK(STATE->libraries[0].flags == ULP_LIBRARY_PROGRAM);
	CHECK(inner(1) == 1001);
	end(outer_thread);
	CHECK(in_outer.inside == 2 && in_outer.after == 1001);

	/*
	 * late() counts only from the second livepatch on: the core's word that nobody is left at
	 * the original was given before, and says nothing of a thread that is in there.
	 */
	begin(&late_thread, &in_late);
	settled = (uint32_t)STATE->domains[0].universe;
	settled_keeps = STATE->domains[0].keeps;
	apply(2, PATCH_PATH, false, all, to_newest);
	CHECK(STATE->domains[0].floor == 1);
	CHECK(inner(1) == 2001);
	end(late_thread);
	CHECK(in_late.inside == 1001 && in_late.after == 2001);

	/* From the next time on it says all there is to say. */
	begin(&late_thread, &in_late);
	settled = 0;
	revert(2);
	CHECK(inner(1) == 1001);
	end(late_thread);
	CHECK(in_late.inside == 2001 && in_late.after == 1001);
	revert(1);
	CHECK(inner(1) == 2);
	return 0;
}
