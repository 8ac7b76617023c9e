/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version          -> the version that the main thread gets
 *   fresh            -> the one that a new thread gets
 *   recurse LEVEL    -> a thread recurses, and blocks on that level
 *   ascend           -> "OWN BEFORE AFTER NEXT": each sum over all levels; a call after it
 *   park ID HOW      -> a thread blocks where it will end.  HOW: exit, system_call, callback, none:
 *                       it ends outside, having used the library
 *   end ID           -> "WITHIN CLEANUP DESTRUCTOR": the versions that it got when it went on, in the
 *                       program's cleanup handler, and in a destructor of thread-specific data;
 *                       0 where there was none
 *   start            -> a thread recurses in a loop
 *   rounds           -> so many recursions, at least two of which began after this command
 *   stop             -> "OLD NEW MIXED"
 */
#include "../victim.h"
#include "leaving.h"

#define PARKED 16

static struct parked {
	pthread_t thread;
	char how[16];
	int pipe[2];
	int inside;
	int within;
	int cleanup;
	int destructor;
} parked[PARKED];

static pthread_key_t key;

static void destroy(void *argument)
{
	((struct parked *)argument)->destructor = version();
}

static void clean_up(void *argument)
{
	((struct parked *)argument)->cleanup = version();
}

static void leave(void)
{
	pthread_exit(NULL);
}

static void *park(void *argument)
{
	struct parked *self = argument;

	pthread_setspecific(key, self);
	pthread_cleanup_push(clean_up, self);
	if (!strcmp(self->how, "exit")) {
		end_by_pthread_exit(self->pipe[0], &self->inside, &self->within);
	} else if (!strcmp(self->how, "system_call")) {
		end_by_system_call(self->pipe[0], &self->inside, &self->within);
	} else if (!strcmp(self->how, "callback")) {
		end_in_callback(self->pipe[0], &self->inside, &self->within, leave);
	} else {
		char byte;

		version();
		__atomic_store_n(&self->inside, 1, __ATOMIC_RELEASE);
		while (read(self->pipe[0], &byte, 1) != 1)
			;
		self->within = version();
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static struct parked *parked_by_id(const char *text)
{
	long id = strtol(text, NULL, 10);

	if (id < 0 || id >= PARKED)
		die("no such slot");
	return &parked[id];
}

static void run_park(char **arguments)
{
	struct parked *slot = parked_by_id(arguments[1]);

	memset(slot, 0, sizeof(*slot));
	snprintf(slot->how, sizeof(slot->how), "%s", arguments[2]);
	make_pipe(slot->pipe);
	slot->thread = start_thread(park, slot);
	wait_for_flag(&slot->inside);
	answer("parked");
}

static void run_end(char **arguments)
{
	struct parked *slot = parked_by_id(arguments[1]);

	send_byte(slot->pipe[1]);
	join_thread(slot->thread);
	close(slot->pipe[0]);
	close(slot->pipe[1]);
	answer("%d %d %d", slot->within, slot->cleanup, slot->destructor);
}

static void run_version(char **arguments)
{
	(void)arguments;
	answer("%d", version());
}

static void *visit(void *argument)
{
	*(int *)argument = version();
	return NULL;
}

static void run_fresh(char **arguments)
{
	int seen;

	(void)arguments;
	join_thread(start_thread(visit, &seen));
	answer("%d", seen);
}

/* ------------------------------------------------------------------ recursion */

static struct {
	pthread_t thread;
	int pipe[2];
	int inside;
	int blocking;
	struct descent descent;
	int next;
} deep;

static void *recurse(void *argument)
{
	(void)argument;
	descend(&deep.descent, 0, deep.blocking, deep.pipe[0], &deep.inside);
	deep.next = version();
	return NULL;
}

static void run_recurse(char **arguments)
{
	memset(&deep, 0, sizeof(deep));
	deep.blocking = (int)strtol(arguments[1], NULL, 10);
	make_pipe(deep.pipe);
	deep.thread = start_thread(recurse, NULL);
	wait_for_flag(&deep.inside);
	answer("recursing");
}

static int sum_of(const int *levels)
{
	int sum = 0;

	for (int i = 0; i < LEVELS; i++)
		sum += levels[i];
	return sum;
}

static void run_ascend(char **arguments)
{
	(void)arguments;
	send_byte(deep.pipe[1]);
	join_thread(deep.thread);
	answer("%d %d %d %d", sum_of(deep.descent.own), sum_of(deep.descent.before),
	       sum_of(deep.descent.after), deep.next);
}

static pthread_t looper;
static int stopping;
static unsigned long counts[3]; /* old, new, mixed */
static unsigned long rounds;

static void *loop(void *argument)
{
	(void)argument;
	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		struct descent descent;
		int sum;

		descend(&descent, 0, -1, -1, NULL);
		sum = sum_of(descent.own) + sum_of(descent.before) + sum_of(descent.after);
		counts[sum == 3 * LEVELS ? 0 : sum == 6 * LEVELS ? 1 : 2]++;
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run_start(char **arguments)
{
	(void)arguments;
	looper = start_thread(loop, NULL);
	answer("started");
}

static void run_rounds(char **arguments)
{
	unsigned long begin = __atomic_load_n(&rounds, __ATOMIC_ACQUIRE);

	(void)arguments;
	while (__atomic_load_n(&rounds, __ATOMIC_ACQUIRE) < begin + 3)
		usleep(100);
	answer("%lu", __atomic_load_n(&rounds, __ATOMIC_ACQUIRE));
}

static void run_stop(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	join_thread(looper);
	answer("%lu %lu %lu", counts[0], counts[1], counts[2]);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version}, {"fresh", run_fresh},
		{"recurse", run_recurse}, {"ascend", run_ascend},
		{"park", run_park},       {"end", run_end},
		{"start", run_start},     {"rounds", run_rounds},
		{"stop", run_stop},       {NULL, NULL},
	};

	if (pthread_key_create(&key, destroy))
		die("pthread_key_create");
	return serve(commands);
}
