/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version            -> the version that the main thread gets
 *   crowd N            -> starts N threads that stay; each has used the library
 *   ask                -> the versions that they get, each on its own thread
 *   park ID FUNCTION   -> thread ID enters FUNCTION and blocks there; what it saw before
 *   release ID         -> "BEFORE RETURNED THROUGH DIRECT POINTER NEXT", NEXT being a call that
 *                         the thread makes after it has left; the thread ends
 *   fresh              -> the version that a new thread gets
 */
#include "../parked.h"
#include "../version.h"
#include "blocked.h"

#define PARKED 64
#define CROWD  64

static struct slot {
	struct parked parked;
	int (*function)(int, struct passage *);
	struct passage passage;
	int returned;
	int next;
} slots[PARKED];

struct worker {
	pthread_t thread;
	int wake[2];
	int done[2];
	int seen;
};

static struct worker crowd[CROWD];
static int crowd_size;

static void *park(void *argument)
{
	struct slot *self = argument;

	self->returned = self->function(self->parked.pipe[0], &self->passage);
	self->next = version();
	return NULL;
}

static void *work(void *argument)
{
	struct worker *self = argument;

	for (;;) {
		self->seen = version();
		send_byte(self->done[1]);
		wait_for_byte(self->wake[0]);
	}
	return NULL;
}

static void run_park(char **arguments)
{
	struct slot *slot = &slots[number_below(PARKED, arguments[1])];

	memset(slot, 0, sizeof(*slot));
	slot->function = !strcmp(arguments[2], "relay")          ? relay
			 : !strcmp(arguments[2], "relay_hidden") ? relay_hidden
								 : hold;
	park_thread(&slot->parked, park, slot);
	answer("%d", wait_for_flag(&slot->passage.entered));
}

static void run_release(char **arguments)
{
	struct slot *slot = &slots[number_below(PARKED, arguments[1])];

	release_thread(&slot->parked);
	answer("%d %d %d %d %d %d", slot->passage.entered, slot->returned, slot->passage.through,
	       slot->passage.direct, slot->passage.pointer, slot->next);
}

static int wait_for_worker(struct worker *worker)
{
	wait_for_byte(worker->done[0]);
	return worker->seen;
}

static void run_crowd(char **arguments)
{
	crowd_size = number_below(CROWD + 1, arguments[1]);
	for (int i = 0; i < crowd_size; i++) {
		make_pipe(crowd[i].wake);
		make_pipe(crowd[i].done);
		crowd[i].thread = start_thread(work, &crowd[i]);
		wait_for_worker(&crowd[i]);
	}
	answer("%d", crowd_size);
}

static void run_ask(char **arguments)
{
	char line[VICTIM_LINE] = "";

	(void)arguments;
	for (int i = 0; i < crowd_size; i++) {
		size_t length = strlen(line);

		send_byte(crowd[i].wake[1]);
		snprintf(line + length, sizeof(line) - length, "%s%d", i ? " " : "",
			 wait_for_worker(&crowd[i]));
	}
	answer("%s", line);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version},
		{"crowd", run_crowd},
		{"ask", run_ask},
		{"park", run_park},
		{"release", run_release},
		{"fresh", run_fresh},
		{NULL, NULL},
	};

	return serve(commands);
}
