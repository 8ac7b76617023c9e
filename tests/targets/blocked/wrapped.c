/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that enters the library by a jump of its own, as a compiler makes one of a call that is
 * a function's last act: the call before the return address names that function, not the library's.
 *
 *   worker      -> "started": a thread that has never used the library waits
 *   ask         -> the version that this thread gets
 *   fresh       -> the version that a new thread gets
 *   park        -> a further thread enters the library and blocks there; the version that it saw before
 *   release     -> the version that the last of them saw after that; it ends
 */
#include "../parked.h"
#include "blocked.h"
#include "../shapes.h"

#define PARKED 64

static struct slot {
	struct parked parked;
	struct passage passage;
} slots[PARKED];

static int parked;

static struct {
	int wake[2];
	int done[2];
	int seen;
} worker;

/* Without optimisation a compiler makes a call of it. */
OPAQUE __attribute__((naked)) int jump_to_version(void)
{
	__asm__("jmp version@PLT");
}

static void *work(void *unused)
{
	for (;;) {
		wait_for_byte(worker.wake[0]);
		worker.seen = jump_to_version();
		send_byte(worker.done[1]);
	}
	return unused;
}

static void run_worker(char **arguments)
{
	(void)arguments;
	make_pipe(worker.wake);
	make_pipe(worker.done);
	start_thread(work, NULL);
	answer("started");
}

static void run_ask(char **arguments)
{
	(void)arguments;
	send_byte(worker.wake[1]);
	wait_for_byte(worker.done[0]);
	answer("%d", worker.seen);
}

static void *use_once(void *unused)
{
	(void)unused;
	return (void *)(long)jump_to_version();
}

static void run_fresh(char **arguments)
{
	(void)arguments;
	answer("%ld", (long)join_thread(start_thread(use_once, NULL)));
}

static void *park(void *argument)
{
	struct slot *self = argument;

	hold(self->parked.pipe[0], &self->passage);
	return NULL;
}

static void run_park(char **arguments)
{
	struct slot *slot = &slots[parked++ % PARKED];

	(void)arguments;
	park_thread(&slot->parked, park, slot);
	answer("%d", wait_for_flag(&slot->passage.entered));
}

static void run_release(char **arguments)
{
	struct slot *slot = &slots[--parked % PARKED];

	(void)arguments;
	release_thread(&slot->parked);
	answer("%d", slot->passage.through);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"worker", run_worker}, {"ask", run_ask},         {"fresh", run_fresh},
		{"park", run_park},     {"release", run_release}, {NULL, NULL},
	};

	return serve(commands);
}
