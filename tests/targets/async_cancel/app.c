/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that do nothing but call the library, and are cancelled meanwhile:
 * in a stub, in the slow path, in the function.
 *
 *   version              -> the version that the main thread gets
 *   enter HOW            -> TICKERS threads call version() in a loop.  HOW: outside, or inside: in a
 *                           callback from the library, so that after a publish every call of
 *                           theirs takes the slow path
 *   calls                -> the version that all of them get, 200 calls after this command; 0: several
 *   cancel               -> "CANCELLED OWN LIBRARY": threads that ended as cancelled, cleanup handlers
 *                           of the program and of the library that ran
 *   churn HOW            -> a thread does "enter" and "cancel" all the time; the main thread sleeps
 *   rounds               -> so many rounds of that; two more than when this command came
 *   settle               -> "ROUNDS CANCELLED OWN LIBRARY": over all rounds
 *
 * With HOW ending in "-deferred" the threads look for a cancellation after each call
 * (pthread_testcancel), else they are cancelled asynchronously.
 */
#include "../version.h"
#include "async_cancel.h"

#define TICKERS 4

static struct ticker {
	pthread_t thread;
	unsigned long calls;
	int last;
} tickers[TICKERS];

static int inside, deferred;
static unsigned long own_cleanups;

static void clean_up(void *argument)
{
	(void)argument;
	__atomic_fetch_add(&own_cleanups, 1, __ATOMIC_SEQ_CST);
}

/*
 * Cleanup handlers are landing pads here (-fexceptions): they run only if each frame between
 * them and the instruction that was interrupted is described.
 */
static __attribute__((noinline)) int tick(void *argument)
{
	struct ticker *self = argument;

	for (;;) {
		__atomic_store_n(&self->last, version(), __ATOMIC_RELAXED);
		__atomic_fetch_add(&self->calls, 1, __ATOMIC_RELEASE);
		if (deferred)
			pthread_testcancel();
	}
	return 0;
}

static void *run(void *argument)
{
	int before;

	pthread_cleanup_push(clean_up, NULL);
	if (!deferred)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	if (inside)
		around(tick, argument);
	else
		tick(argument);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Each makes so many calls from now on. */
static void wait_for_calls(unsigned long more)
{
	unsigned long begin[TICKERS];

	for (int i = 0; i < TICKERS; i++)
		begin[i] = __atomic_load_n(&tickers[i].calls, __ATOMIC_ACQUIRE);
	for (int i = 0; i < TICKERS; i++)
		wait_for_count(&tickers[i].calls, begin[i] + more);
}

static void enter(const char *how)
{
	inside = !strncmp(how, "inside", 6);
	deferred = strstr(how, "-deferred") != NULL;
	library_cleanups = own_cleanups = 0;
	memset(tickers, 0, sizeof(tickers));
	for (int i = 0; i < TICKERS; i++)
		tickers[i].thread = start_thread(run, &tickers[i]);
	wait_for_calls(1);
}

static int cancel(void)
{
	int cancelled = 0;

	for (int i = 0; i < TICKERS; i++) {
		errno = pthread_cancel(tickers[i].thread);
		if (errno)
			die("pthread_cancel");
	}
	for (int i = 0; i < TICKERS; i++)
		cancelled += join_thread(tickers[i].thread) == PTHREAD_CANCELED;
	return cancelled;
}

/* ------------------------------------------------------------------ commands */

static void run_enter(char **arguments)
{
	enter(arguments[1]);
	answer("entered");
}

static void run_calls(char **arguments)
{
	int same;

	(void)arguments;
	wait_for_calls(200);
	same = __atomic_load_n(&tickers[0].last, __ATOMIC_RELAXED);
	for (int i = 1; i < TICKERS; i++)
		if (__atomic_load_n(&tickers[i].last, __ATOMIC_RELAXED) != same)
			same = 0;
	answer("%d", same);
}

static void run_cancel(char **arguments)
{
	int cancelled = cancel();

	(void)arguments;
	answer("%d %lu %lu", cancelled, own_cleanups, library_cleanups);
}

static struct {
	pthread_t thread;
	char how[32];
	unsigned long rounds;
	unsigned long cancelled;
	unsigned long own;
	unsigned long library;
	int stopping;
} churn;

static void *churn_on(void *argument)
{
	(void)argument;
	while (!__atomic_load_n(&churn.stopping, __ATOMIC_RELAXED)) {
		enter(churn.how);
		wait_for_calls(churn.rounds % 50);
		churn.cancelled += (unsigned long)cancel();
		churn.own += own_cleanups;
		churn.library += library_cleanups;
		__atomic_fetch_add(&churn.rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run_churn(char **arguments)
{
	snprintf(churn.how, sizeof(churn.how), "%s", arguments[1]);
	churn.thread = start_thread(churn_on, NULL);
	answer("churning");
}

static void run_rounds(char **arguments)
{
	unsigned long begin = __atomic_load_n(&churn.rounds, __ATOMIC_ACQUIRE);

	(void)arguments;
	wait_for_count(&churn.rounds, begin + 2);
	answer("%lu", __atomic_load_n(&churn.rounds, __ATOMIC_ACQUIRE));
}

static void run_settle(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&churn.stopping, 1, __ATOMIC_RELAXED);
	join_thread(churn.thread);
	answer("%lu %lu %lu %lu", churn.rounds, churn.cancelled, churn.own, churn.library);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version}, {"enter", run_enter}, {"calls", run_calls},
		{"cancel", run_cancel},   {"churn", run_churn}, {"rounds", run_rounds},
		{"settle", run_settle},   {NULL, NULL},
	};

	return serve(commands);
}
