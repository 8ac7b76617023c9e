/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   inside   -> the results of all kinds as the library sees them
 *   outside  -> those of the exported ones, and by the default version, as the application does
 *   start    -> a thread calls "whole" in a loop
 *   latest   -> "OLD NEW" of a call that began after this command
 *   stop     -> how many calls mixed old and new
 */
#include "../victim.h"
#include "text.h"

static pthread_t thread;
static int stopping;
static unsigned long calls, mixed;
static int latest[2];

static void answer_all(const int *results)
{
	char line[VICTIM_LINE] = "";

	for (int i = 0; results[i]; i++) {
		size_t length = strlen(line);

		snprintf(line + length, sizeof(line) - length, "%s%d", i ? " " : "", results[i]);
	}
	answer("%s", line);
}

static void run_inside(char **arguments)
{
	int results[TEXT_KINDS + 1];

	(void)arguments;
	each(results);
	answer_all(results);
}

static void run_outside(char **arguments)
{
	int results[] = {first(),  named(),     alias(),       weak(), versioned(),
			 chosen(), crossing(1), at_the_edge(), last(), 0};

	(void)arguments;
	answer_all(results);
}

static void *loop(void *argument)
{
	int counts[2];

	(void)argument;
	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		whole(counts);
		mixed += counts[0] && counts[1];
		__atomic_store_n(&latest[0], counts[0], __ATOMIC_RELAXED);
		__atomic_store_n(&latest[1], counts[1], __ATOMIC_RELAXED);
		__atomic_fetch_add(&calls, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run_start(char **arguments)
{
	(void)arguments;
	thread = start_thread(loop, NULL);
	answer("started");
}

static void run_latest(char **arguments)
{
	unsigned long begin = __atomic_load_n(&calls, __ATOMIC_ACQUIRE);

	(void)arguments;
	wait_for_count(&calls, begin + 2);
	answer("%d %d", __atomic_load_n(&latest[0], __ATOMIC_RELAXED),
	       __atomic_load_n(&latest[1], __ATOMIC_RELAXED));
}

static void run_stop(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	join_thread(thread);
	answer("%lu", mixed);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"inside", run_inside}, {"outside", run_outside}, {"start", run_start},
		{"latest", run_latest}, {"stop", run_stop},       {NULL, NULL},
	};

	return serve(commands);
}
