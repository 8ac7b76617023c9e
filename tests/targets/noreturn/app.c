/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version    -> the version that the main thread gets
 *   park       -> a thread blocks in a function that run() has called and that never returns
 *   release    -> the version that it gets there; it ends by pthread_exit
 */
#include "../victim.h"
#include "noreturn.h"

static struct {
	pthread_t thread;
	int pipe[2];
	int inside;
	int within;
} parked;

__attribute__((noreturn)) static void leave(void)
{
	char byte;

	__atomic_store_n(&parked.inside, 1, __ATOMIC_RELEASE);
	while (read(parked.pipe[0], &byte, 1) != 1)
		;
	parked.within = version();
	pthread_exit(NULL);
}

static void *park(void *argument)
{
	(void)argument;
	run(leave);
	return NULL;
}

static void run_version(char **arguments)
{
	(void)arguments;
	answer("%d", version());
}

static void run_park(char **arguments)
{
	(void)arguments;
	make_pipe(parked.pipe);
	parked.thread = start_thread(park, NULL);
	wait_for_flag(&parked.inside);
	answer("parked");
}

static void run_release(char **arguments)
{
	(void)arguments;
	send_byte(parked.pipe[1]);
	join_thread(parked.thread);
	answer("%d", parked.within);
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
