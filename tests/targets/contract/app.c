/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   start N   -> N threads call transact in a tight loop
 *   latest    -> what each got from a call that began after this command
 *   counts    -> "OLD NEW BAD" over all threads
 *   stop      -> joins them, and answers like counts
 *   call      -> what the main thread gets
 */
#include "../victim.h"
#include "contract.h"

#define THREADS 64

struct looper {
	pthread_t thread;
	unsigned long old, new, bad;
	unsigned long calls;
	int latest;
};

static struct looper loopers[THREADS];
static int looper_count;
static int stopping;

static void *loop(void *argument)
{
	struct looper *self = argument;

	yield_to_others();
	for (long seed = (long)(self - loopers) << 32;
	     !__atomic_load_n(&stopping, __ATOMIC_RELAXED); seed++) {
		int layout = transact(seed);

		if (layout == 1)
			__atomic_fetch_add(&self->old, 1, __ATOMIC_RELAXED);
		else if (layout == 2)
			__atomic_fetch_add(&self->new, 1, __ATOMIC_RELAXED);
		else
			__atomic_fetch_add(&self->bad, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&self->latest, layout, __ATOMIC_RELAXED);
		__atomic_fetch_add(&self->calls, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run_start(char **arguments)
{
	stopping = 0;
	looper_count = number_below(THREADS + 1, arguments[1]);
	memset(loopers, 0, sizeof(loopers));
	for (int i = 0; i < looper_count; i++)
		loopers[i].thread = start_thread(loop, &loopers[i]);
	for (int i = 0; i < looper_count; i++)
		wait_for_count(&loopers[i].calls, 1);
	answer("%d", looper_count);
}

static void run_latest(char **arguments)
{
	unsigned long begin[THREADS];
	char line[VICTIM_LINE] = "";

	(void)arguments;
	for (int i = 0; i < looper_count; i++)
		begin[i] = __atomic_load_n(&loopers[i].calls, __ATOMIC_ACQUIRE);
	for (int i = 0; i < looper_count; i++) {
		size_t length = strlen(line);

		/* The call under way may have begun before; the one after it has not. */
		wait_for_count(&loopers[i].calls, begin[i] + 2);
		snprintf(line + length, sizeof(line) - length, "%s%d", i ? " " : "",
			 __atomic_load_n(&loopers[i].latest, __ATOMIC_RELAXED));
	}
	answer("%s", line);
}

static void answer_counts(void)
{
	unsigned long old = 0, new = 0, bad = 0;

	for (int i = 0; i < looper_count; i++) {
		old += __atomic_load_n(&loopers[i].old, __ATOMIC_RELAXED);
		new += __atomic_load_n(&loopers[i].new, __ATOMIC_RELAXED);
		bad += __atomic_load_n(&loopers[i].bad, __ATOMIC_RELAXED);
	}
	answer("%lu %lu %lu", old, new, bad);
}

static void run_counts(char **arguments)
{
	(void)arguments;
	answer_counts();
}

static void run_stop(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < looper_count; i++)
		join_thread(loopers[i].thread);
	answer_counts();
	looper_count = 0;
}

static void run_call(char **arguments)
{
	(void)arguments;
	answer("%d", transact(42));
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"start", run_start}, {"latest", run_latest}, {"counts", run_counts},
		{"stop", run_stop},   {"call", run_call},     {NULL, NULL},
	};

	return serve(commands);
}
