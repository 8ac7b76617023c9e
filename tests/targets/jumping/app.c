/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version  -> the version that the main thread gets
 *   park     -> each of the functions is entered by a thread of its own, through a pointer
 *   release  -> what they return, then what the same thread gets by the same function once more
 */
#include "../parked.h"
#include "../version.h"
#include "jumping.h"

#define WAYS 4

static int (*volatile const ways[WAYS])(int, int *) = {relay, relay_by_table, relay_by_choice,
						       relay_seldom};

static struct slot {
	struct parked parked;
	int way;
	int returned;
	int next;
} slots[WAYS];

static void *park(void *argument)
{
	struct slot *self = argument;

	self->returned = ways[self->way](self->parked.pipe[0], &self->parked.inside);
	self->next = ways[self->way](self->parked.pipe[0], &self->parked.inside);
	return NULL;
}

static void run_park(char **arguments)
{
	(void)arguments;
	for (int way = 0; way < WAYS; way++) {
		slots[way].way = way;
		park_thread(&slots[way].parked, park, &slots[way]);
		wait_for_flag(&slots[way].parked.inside);
	}
	answer("%d", WAYS);
}

static void run_release(char **arguments)
{
	char line[VICTIM_LINE] = "";

	(void)arguments;
	for (int way = 0; way < WAYS; way++) {
		size_t length = strlen(line);

		send_byte(slots[way].parked.pipe[1]);
		release_thread(&slots[way].parked);
		snprintf(line + length, sizeof(line) - length, "%d %d ", slots[way].returned,
			 slots[way].next);
	}
	answer("%s", line);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version},
		{"park", run_park},
		{"release", run_release},
		{NULL, NULL},
	};

	return serve(commands);
}
