/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version      -> the version that the main thread gets
 *   park ID      -> a thread blocks inside the library
 *   cancel ID    -> "CANCELLED CLEANUPS DESTROYED OWN": pthread_cancel and join; what the library's
 *                   cleanups and destructors did since the last answer, and the application's own
 *   release ID   -> what the thread returns when it is not cancelled
 */
#include "../parked.h"
#include "../version.h"
#include "cancel.h"

#define PARKED 8

static struct parked parked[PARKED];

static int own_cleanups;

static void clean_up(void *argument)
{
	(void)argument;
	__atomic_fetch_add(&own_cleanups, 1, __ATOMIC_SEQ_CST);
}

static void *park(void *argument)
{
	struct parked *self = argument;
	long volatile result = 0;

	pthread_cleanup_push(clean_up, NULL);
	result = wait_inside(self->pipe[0], &self->inside);
	pthread_cleanup_pop(0);
	return (void *)result;
}

static void run_park(char **arguments)
{
	struct parked *thread = &parked[number_below(PARKED, arguments[1])];

	park_thread(thread, park, thread);
	wait_for_flag(&thread->inside);
	answer("parked");
}

static void run_cancel(char **arguments)
{
	struct parked *thread = &parked[number_below(PARKED, arguments[1])];
	int cancelled;

	errno = pthread_cancel(thread->thread);
	if (errno)
		die("pthread_cancel");
	cancelled = join_parked(thread) == PTHREAD_CANCELED;
	answer("%d %d %d %d", cancelled, __atomic_exchange_n(&cleanups, 0, __ATOMIC_SEQ_CST),
	       __atomic_exchange_n(&destroyed, 0, __ATOMIC_SEQ_CST),
	       __atomic_exchange_n(&own_cleanups, 0, __ATOMIC_SEQ_CST));
}

static void run_release(char **arguments)
{
	long result = (long)release_thread(&parked[number_below(PARKED, arguments[1])]);

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
