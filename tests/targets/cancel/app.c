/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version      -> the version that the main thread gets
 *   park ID      -> a thread blocks inside the library
 *   cancel ID    -> "CANCELLED CLEANUPS DESTROYED OWN": pthread_cancel and join; what the library's
 *                   cleanups and destructors did since the last answer, and the application's own
 *   release ID   -> what the thread returns when it is not cancelled
 */
#include "../victim.h"
#include "cancel.h"

#define PARKED 8

static struct {
	pthread_t thread;
	int pipe[2];
	int inside;
} parked[PARKED];

static int own_cleanups;

static void clean_up(void *argument)
{
	(void)argument;
	__atomic_fetch_add(&own_cleanups, 1, __ATOMIC_SEQ_CST);
}

static void *park(void *argument)
{
	long id = (long)argument;
	long volatile result = 0;

	pthread_cleanup_push(clean_up, NULL);
	result = wait_inside(parked[id].pipe[0], &parked[id].inside);
	pthread_cleanup_pop(0);
	return (void *)result;
}

static long id_of(const char *text)
{
	long id = strtol(text, NULL, 10);

	if (id < 0 || id >= PARKED)
		die("no such slot");
	return id;
}

static void run_version(char **arguments)
{
	(void)arguments;
	answer("%d", version());
}

static void run_park(char **arguments)
{
	long id = id_of(arguments[1]);

	parked[id].inside = 0;
	make_pipe(parked[id].pipe);
	parked[id].thread = start_thread(park, (void *)id);
	wait_for_flag(&parked[id].inside);
	answer("parked");
}

static void run_cancel(char **arguments)
{
	long id = id_of(arguments[1]);
	int cancelled;

	errno = pthread_cancel(parked[id].thread);
	if (errno)
		die("pthread_cancel");
	cancelled = join_thread(parked[id].thread) == PTHREAD_CANCELED;
	answer("%d %d %d %d", cancelled, __atomic_exchange_n(&cleanups, 0, __ATOMIC_SEQ_CST),
	       __atomic_exchange_n(&destroyed, 0, __ATOMIC_SEQ_CST),
	       __atomic_exchange_n(&own_cleanups, 0, __ATOMIC_SEQ_CST));
}

static void run_release(char **arguments)
{
	long id = id_of(arguments[1]);
	long result;

	send_byte(parked[id].pipe[1]);
	result = (long)join_thread(parked[id].thread);
	__atomic_store_n(&destroyed, 0, __ATOMIC_SEQ_CST);
	answer("%ld", result);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version}, {"park", run_park}, {"cancel", run_cancel},
		{"release", run_release}, {NULL, NULL},
	};

	return serve(commands);
}
