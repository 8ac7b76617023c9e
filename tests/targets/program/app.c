/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that is its own target: all of its code has padding, main() too.
 *
 *   version          -> by a call: the version that the main thread gets
 *   enter            -> the same, from a function that does nothing but jump there
 *   park WHERE       -> a thread blocks, with a replaced function's work not done.  WHERE:
 *                       body    in a callback from it
 *                       moved   in the part of it that the compiler puts elsewhere
 *                       jump    in a function to which it has jumped
 *                       main    nowhere: in a function that no livepatch replaces
 *                       late    in a function that only the second livepatch replaces
 *                       last    in a function that it has called with its last instruction, and
 *                               that never returns
 *   release          -> "WITHIN NEXT": what version() gave there after the wait, and afterwards
 *   start N          -> N threads call both() in a loop
 *   round            -> "round" when each of them has made a call that began after this command
 *   stop             -> "OLD NEW MIXED": how often both() saw which versions
 */
#include "../parked.h"
#include "../shapes.h"
#include "../version.h"

#define THREADS 16

/* ------------------------------------------------- functions to be replaced */

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int around(void (*callback)(void))
{
	callback();
	return unknown(version());
}

__attribute__((cold)) OPAQUE static void seldom(void)
{
	unknown(0);
}

/* What leads to a cold function is cold itself: gcc moves it into a part of its own. */
EXPORTED OPAQUE int moved(int often, void (*callback)(void))
{
	if (!often) {
		seldom();
		callback();
		return unknown(version());
	}
	return unknown(version());
}

/* Not replaced: whoever jumps here has no frame left. */
EXPORTED OPAQUE int finish(void (*callback)(void))
{
	callback();
	return unknown(version());
}

EXPORTED OPAQUE int jump(void (*callback)(void))
{
	unknown(version());
	return finish(callback);
}

EXPORTED OPAQUE int late(void (*callback)(void))
{
	callback();
	return unknown(version());
}

/* Not replaced, and never returns: nothing stands behind its calls. */
__attribute__((noreturn)) EXPORTED OPAQUE void leave(void (*callback)(void), int *within)
{
	callback();
	*within = version();
	pthread_exit(NULL);
}

EXPORTED OPAQUE void last(void (*callback)(void), int *within)
{
	leave(callback, within);
}

EXPORTED OPAQUE int left(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int right(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int both(void)
{
	int first = left();

	for (volatile int i = 0; i < 200; i++)
		;
	return 10 * first + right();
}

/* -------------------------------------------------------- the rest of it */

OPAQUE static int enter(void)
{
	return version();
}

static struct {
	struct parked parked;
	int within;
	int next;
	char where[16];
} slot;

OPAQUE static void block(void)
{
	stay(&slot.parked);
}

OPAQUE static int in_main(void)
{
	block();
	return unknown(version());
}

static void *park(void *argument)
{
	(void)argument;
	if (!strcmp(slot.where, "body"))
		slot.within = around(block);
	else if (!strcmp(slot.where, "moved"))
		slot.within = moved(0, block);
	else if (!strcmp(slot.where, "jump"))
		slot.within = jump(block);
	else if (!strcmp(slot.where, "late"))
		slot.within = late(block);
	else if (!strcmp(slot.where, "last"))
		last(block, &slot.within);
	else
		slot.within = in_main();
	slot.next = version();
	return NULL;
}

static void run_enter(char **arguments)
{
	(void)arguments;
	answer("%d", enter());
}

static void run_park(char **arguments)
{
	memset(&slot, 0, sizeof(slot));
	strncpy(slot.where, arguments[1], sizeof(slot.where) - 1);
	park_thread(&slot.parked, park, NULL);
	wait_for_flag(&slot.parked.inside);
	answer("parked");
}

static void run_release(char **arguments)
{
	(void)arguments;
	release_thread(&slot.parked);
	if (!strcmp(slot.where, "last"))
		slot.next = version();
	answer("%d %d", slot.within, slot.next);
}

static struct {
	pthread_t thread[THREADS];
	int count;
	int stop;
	unsigned long calls[THREADS];
	long old;
	long new;
	long mixed;
} loop;

static void *call_both(void *argument)
{
	unsigned long *calls = argument;
	long old = 0, new = 0, mixed = 0;

	while (!__atomic_load_n(&loop.stop, __ATOMIC_RELAXED)) {
		int seen = both();

		if (seen == 11)
			old++;
		else if (seen == 22)
			new ++;
		else
			mixed++;
		__atomic_fetch_add(calls, 1, __ATOMIC_RELEASE);
	}
	__atomic_add_fetch(&loop.old, old, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loop.new, new, __ATOMIC_RELAXED);
	__atomic_add_fetch(&loop.mixed, mixed, __ATOMIC_RELAXED);
	return NULL;
}

static void run_start(char **arguments)
{
	memset(&loop, 0, sizeof(loop));
	loop.count = number_below(THREADS + 1, arguments[1]);
	for (int i = 0; i < loop.count; i++)
		loop.thread[i] = start_thread(call_both, &loop.calls[i]);
	answer("%d", loop.count);
}

static void run_round(char **arguments)
{
	unsigned long begin[THREADS];

	(void)arguments;
	for (int i = 0; i < loop.count; i++)
		begin[i] = __atomic_load_n(&loop.calls[i], __ATOMIC_ACQUIRE);
	for (int i = 0; i < loop.count; i++)
		wait_for_count(&loop.calls[i], begin[i] + 2);
	answer("round");
}

static void run_stop(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&loop.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < loop.count; i++)
		join_thread(loop.thread[i]);
	answer("%ld %ld %ld", loop.old, loop.new, loop.mixed);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version}, {"enter", run_enter}, {"park", run_park},
		{"release", run_release}, {"start", run_start}, {"round", run_round},
		{"stop", run_stop},       {NULL, NULL},
	};

	return serve(commands);
}
