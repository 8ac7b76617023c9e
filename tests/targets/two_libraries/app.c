/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   versions        -> "UPPER LOWER THROUGH" as the main thread gets them
 *   start N         -> N threads call upper, lower, and lower through upper, in a tight loop
 *   latest          -> what each got from a round that began after this command, as UPPER LOWER THROUGH
 *   stop            -> "MIXED MOST": results of one entry that mixed versions, and how often the
 *                      thread with the most changes saw the version change from one call to the next
 *   park ID WHICH   -> thread ID blocks in a callback from library WHICH: upper or lower
 *   relay ID        -> thread ID blocks in upper, by a pointer, and is to jump to lower
 *   release ID      -> "UPPER LOWER THROUGH" within the callback, then the same after it
 */
#include "../parked.h"
#include "two_libraries.h"

#define SLOTS 16

struct versions {
	int upper, lower, through;
};

static struct looper {
	pthread_t thread;
	struct versions latest;
	unsigned long rounds, mixed, changes;
} loopers[SLOTS];

static int looper_count;
static int stopping;

static struct slot {
	struct parked parked;
	void (*around)(void (*)(void *), void *);
	struct versions within, after;
} slots[SLOTS];

static struct versions look(void)
{
	struct versions seen;

	seen.upper = upper_version();
	seen.lower = lower_version();
	seen.through = upper_through();
	return seen;
}

static void *loop(void *argument)
{
	struct looper *self = argument;
	int version = 0;

	yield_to_others();
	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		struct versions seen = look();
		int order[] = {seen.upper, seen.lower, seen.through / 10};

		for (int i = 0; i < 3; i++) {
			self->changes += version && order[i] != version;
			version = order[i];
		}
		self->mixed += seen.through % 11 != 0;
		self->latest = seen;
		__atomic_fetch_add(&self->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run_start(char **arguments)
{
	looper_count = number_below(SLOTS + 1, arguments[1]);
	for (int i = 0; i < looper_count; i++)
		loopers[i].thread = start_thread(loop, &loopers[i]);
	for (int i = 0; i < looper_count; i++)
		wait_for_count(&loopers[i].rounds, 1);
	answer("%d", looper_count);
}

static void run_latest(char **arguments)
{
	unsigned long begin[SLOTS];
	char line[VICTIM_LINE] = "";

	(void)arguments;
	for (int i = 0; i < looper_count; i++)
		begin[i] = __atomic_load_n(&loopers[i].rounds, __ATOMIC_ACQUIRE);
	for (int i = 0; i < looper_count; i++) {
		size_t length = strlen(line);

		wait_for_count(&loopers[i].rounds, begin[i] + 2);
		snprintf(line + length, sizeof(line) - length, "%s%d %d %d", i ? " " : "",
			 loopers[i].latest.upper, loopers[i].latest.lower,
			 loopers[i].latest.through);
	}
	answer("%s", line);
}

static void run_stop(char **arguments)
{
	unsigned long mixed = 0, most = 0;

	(void)arguments;
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < looper_count; i++) {
		join_thread(loopers[i].thread);
		mixed += loopers[i].mixed;
		if (loopers[i].changes > most)
			most = loopers[i].changes;
	}
	answer("%lu %lu", mixed, most);
}

static void block(void *argument)
{
	struct slot *self = argument;

	/* Both are looked at before: afterwards only the universe can tell. */
	self->within = look();
	stay(&self->parked);
	self->within = look();
}

static void *park(void *argument)
{
	struct slot *self = argument;

	self->around(block, self);
	self->after = look();
	return NULL;
}

static void run_park(char **arguments)
{
	struct slot *slot = &slots[number_below(SLOTS, arguments[1])];

	memset(slot, 0, sizeof(*slot));
	slot->around = !strcmp(arguments[2], "lower") ? lower_around : upper_around;
	park_thread(&slot->parked, park, slot);
	wait_for_flag(&slot->parked.inside);
	answer("%d %d %d", slot->within.upper, slot->within.lower, slot->within.through);
}

static void run_release(char **arguments)
{
	struct slot *slot = &slots[number_below(SLOTS, arguments[1])];

	release_thread(&slot->parked);
	answer("%d %d %d %d %d %d", slot->within.upper, slot->within.lower, slot->within.through,
	       slot->after.upper, slot->after.lower, slot->after.through);
}

static int (*volatile const relay)(int, int *) = upper_relay;

static void *enter_relay(void *argument)
{
	struct slot *self = argument;

	self->within.lower = relay(self->parked.pipe[0], &self->parked.inside);
	self->after = look();
	return NULL;
}

static void run_relay(char **arguments)
{
	struct slot *slot = &slots[number_below(SLOTS, arguments[1])];

	memset(slot, 0, sizeof(*slot));
	park_thread(&slot->parked, enter_relay, slot);
	wait_for_flag(&slot->parked.inside);
	answer("0");
}

static void run_versions(char **arguments)
{
	struct versions seen = look();

	(void)arguments;
	answer("%d %d %d", seen.upper, seen.lower, seen.through);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"versions", run_versions}, {"start", run_start}, {"latest", run_latest},
		{"stop", run_stop},         {"park", run_park},   {"relay", run_relay},
		{"release", run_release},   {NULL, NULL},
	};

	return serve(commands);
}
