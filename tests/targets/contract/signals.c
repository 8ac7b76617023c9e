/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A signal handler that calls the library, while the interrupted thread may be
 * anywhere: in the application, in the library, in a stub.
 *
 *   storm MICROSECONDS  -> SIGALRM every so often, and a thread that calls transact in a loop
 *   latest              -> "HANDLER LOOP" of calls that began after this command
 *   stop                -> "OLD NEW BAD HANDLED" over handler and loop
 *   call                -> what the main thread gets
 */
#include "../victim.h"
#include "contract.h"

#include <signal.h>
#include <sys/time.h>

static unsigned long counts[3]; /* old, new, bad */
static unsigned long handled, looped;
static int handler_latest, loop_latest;
static int stopping;
static pthread_t looper;

static void count(int layout, int *latest)
{
	__atomic_fetch_add(&counts[layout == 1 ? 0 : layout == 2 ? 1 : 2], 1, __ATOMIC_RELAXED);
	__atomic_store_n(latest, layout, __ATOMIC_RELAXED);
}

static void on_alarm(int number)
{
	int saved = errno;

	(void)number;
	count(transact((long)handled), &handler_latest);
	__atomic_fetch_add(&handled, 1, __ATOMIC_RELEASE);
	errno = saved;
}

static void *loop(void *argument)
{
	sigset_t set;

	(void)argument;
	yield_to_others();
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		count(transact((long)looped), &loop_latest);
		__atomic_fetch_add(&looped, 1, __ATOMIC_RELEASE);
	}
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return NULL;
}

static void set_timer(long microseconds)
{
	struct itimerval timer = {
		.it_interval = {0, microseconds},
		.it_value = {0, microseconds},
	};

	if (setitimer(ITIMER_REAL, &timer, NULL))
		die("setitimer");
}

static void run_storm(char **arguments)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	sigset_t set;

	/* Only the looping thread takes the signal. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (sigaction(SIGALRM, &action, NULL))
		die("sigaction");
	looper = start_thread(loop, NULL);
	set_timer(strtol(arguments[1], NULL, 10));
	wait_for_count(&handled, 10);
	answer("storm");
}

static void run_latest(char **arguments)
{
	unsigned long looped_before = __atomic_load_n(&looped, __ATOMIC_ACQUIRE);
	unsigned long handled_before;

	(void)arguments;
	wait_for_count(&looped, looped_before + 2);
	/* Only now: a handler that interrupts an older call of the loop belongs to its universe. */
	handled_before = __atomic_load_n(&handled, __ATOMIC_ACQUIRE);
	wait_for_count(&handled, handled_before + 2);
	answer("%d %d", __atomic_load_n(&handler_latest, __ATOMIC_RELAXED),
	       __atomic_load_n(&loop_latest, __ATOMIC_RELAXED));
}

static void run_stop(char **arguments)
{
	(void)arguments;
	set_timer(0);
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	join_thread(looper);
	answer("%lu %lu %lu %lu", counts[0], counts[1], counts[2], handled);
}

static void run_call(char **arguments)
{
	(void)arguments;
	answer("%d", transact(7));
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"storm", run_storm}, {"latest", run_latest}, {"stop", run_stop},
		{"call", run_call},   {NULL, NULL},
	};

	return serve(commands);
}
