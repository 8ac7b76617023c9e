/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version    -> the version that the main thread gets
 *   park       -> a thread blocks in a function that run() has called and that never returns
 *   release    -> the version that it gets there; it ends by pthread_exit
 */
#include "../parked.h"
#include "../version.h"
#include "noreturn.h"

static struct parked parked;
static int within;

__attribute__((noreturn)) static void leave(void)
{
	stay(&parked);
	within = version();
	pthread_exit(NULL);
}

static void *park(void *argument)
{
	(void)argument;
	run(leave);
	return NULL;
}

static void run_park(char **arguments)
{
	(void)arguments;
	park_thread(&parked, park, NULL);
	wait_for_flag(&parked.inside);
	answer("parked");
}

static void run_release(char **arguments)
{
	(void)arguments;
	release_thread(&parked);
	answer("%d", within);
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
