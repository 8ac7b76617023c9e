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
#include "../parked.h"
#include "../version.h"
#include "leaving.h"

#define PARKED 16

static struct slot {
	struct parked parked;
	char how[16];
	int within;
	int cleanup;
	int destructor;
} slots[PARKED];

static pthread_key_t key;

static void destroy(void *argument)
{
	((struct slot *)argument)->destructor = version();
}

static void clean_up(void *argument)
{
	((struct slot *)argument)->cleanup = version();
}

static void leave(void)
{
	pthread_exit(NULL);
}

static void *park(void *argument)
{
	struct slot *self = argument;
	int fd = self->parked.pipe[0], *inside = &self->parked.inside;

	pthread_setspecific(key, self);
	pthread_cleanup_push(clean_up, self);
	if (!strcmp(self->how, "exit")) {
		end_by_pthread_exit(fd, inside, &self->within);
	} else if (!strcmp(self->how, "system_call")) {
		end_by_system_call(fd, inside, &self->within);
	} else if (!strcmp(self->how, "callback")) {
		end_in_callback(fd, inside, &self->within, leave);
	} else {
		version();
		stay(&self->parked);
		self->within = version();
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static void run_park(char **arguments)
{
	struct slot *slot = &slots[number_below(PARKED, arguments[1])];

	memset(slot, 0, sizeof(*slot));
	snprintf(slot->how, sizeof(slot->how), "%s", arguments[2]);
	park_thread(&slot->parked, park, slot);
	wait_for_flag(&slot->parked.inside);
	answer("parked");
}

static void run_end(char **arguments)
{
	struct slot *slot = &slots[number_below(PARKED, arguments[1])];

	release_thread(&slot->parked);
	answer("%d %d %d", slot->within, slot->cleanup, slot->destructor);
}

/* ------------------------------------------------------------------ recursion */

static struct {
	struct parked parked;
	int blocking;
	struct descent descent;
	int next;
} deep;

static void *recurse(void *argument)
{
	(void)argument;
	descend(&deep.descent, 0, deep.blocking, deep.parked.pipe[0], &deep.parked.inside);
	deep.next = version();
	return NULL;
}

static void run_recurse(char **arguments)
{
	memset(&deep, 0, sizeof(deep));
	deep.blocking = (int)strtol(arguments[1], NULL, 10);
	park_thread(&deep.parked, recurse, NULL);
	wait_for_flag(&deep.parked.inside);
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
	release_thread(&deep.parked);
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
	wait_for_count(&rounds, begin + 3);
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
