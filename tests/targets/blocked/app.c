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
#include "../victim.h"
#include "blocked.h"

#define PARKED 64
#define CROWD  64

struct parked {
	pthread_t thread;
	int (*function)(int, struct passage *);
	int pipe[2];
	struct passage passage;
	int returned;
	int next;
};

static struct parked parked[PARKED];

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
	struct parked *self = argument;

	self->returned = self->function(self->pipe[0], &self->passage);
	self->next = version();
	return NULL;
}

static void *work(void *argument)
{
	struct worker *self = argument;
	char byte;

	for (;;) {
		self->seen = version();
		send_byte(self->done[1]);
		while (read(self->wake[0], &byte, 1) != 1)
			;
	}
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
	make_pipe(slot->pipe);
	slot->function = !strcmp(arguments[2], "relay")          ? relay
			 : !strcmp(arguments[2], "relay_hidden") ? relay_hidden
								 : hold;
	slot->thread = start_thread(park, slot);
	answer("%d", wait_for_flag(&slot->passage.entered));
}

static void run_release(char **arguments)
{
	struct parked *slot = parked_by_id(arguments[1]);

	send_byte(slot->pipe[1]);
	join_thread(slot->thread);
	close(slot->pipe[0]);
	close(slot->pipe[1]);
	answer("%d %d %d %d %d %d", slot->passage.entered, slot->returned, slot->passage.through,
	       slot->passage.direct, slot->passage.pointer, slot->next);
}

static int wait_for_worker(struct worker *worker)
{
	char byte;

	while (read(worker->done[0], &byte, 1) != 1)
		;
	return worker->seen;
}

static void run_crowd(char **arguments)
{
	crowd_size = (int)strtol(arguments[1], NULL, 10);
	if (crowd_size > CROWD)
		die("crowd too large");
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
