/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thread that receives queued real-time signals, and uses the library of ../blocked meanwhile.
 *
 *   start HOW       -> "started", then it waits for signals, HOW: pause (without SA_RESTART), read (with
 *                      SA_RESTART: of a pipe that nothing comes from), spin (calling the library),
 *                      handler (calling the library in the handler, too) until SIGUSR1 comes;
 *                      then "NUMBER VALUE" for each signal that came, in order, and "end"
 *                      (mixed: read, and SA_RESTART for every other signal)
 *   block HOW       -> the ID of a thread that is blocked in read.  HOW: deferred, asynchronous
 *   cancel          -> "sent": pthread_cancel of that thread
 *   join            -> whether it ended as cancelled, and how many cleanup handlers ran
 *   version         -> the version of the library
 */
#define _GNU_SOURCE
#include "../version.h"
#include "../blocked/blocked.h"

#include <signal.h>

#define SIGNALS 100000

static struct {
	int number;
	int value;
} received[SIGNALS];
static unsigned int received_count;
static int calls_library;
static volatile sig_atomic_t ended;
static int silent[2];

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (received_count == SIGNALS)
		die("too many signals");
	if (calls_library && version() < 1)
		die("no version");
	received[received_count].number = number - SIGRTMIN;
	received[received_count].value = info->si_value.sival_int;
	received_count++;
}

/* It may come right before the read: that must end as well. */
static void on_end(int number)
{
	(void)number;
	ended = 1;
	send_byte(silent[1]);
}

/* All of them blocked meanwhile, so that one handler ends before the next begins. */
static void handle(int restart, int restart_odd)
{
	struct sigaction action = {.sa_sigaction = on_signal};

	sigfillset(&action.sa_mask);
	for (int number = SIGRTMIN; number < SIGRTMIN + 8; number++) {
		action.sa_flags =
			SA_SIGINFO | (restart || (restart_odd && number % 2) ? SA_RESTART : 0);
		if (sigaction(number, &action, NULL))
			die("sigaction");
	}
	action = (struct sigaction){.sa_handler = on_end};
	sigfillset(&action.sa_mask);
	if (sigaction(SIGUSR1, &action, NULL))
		die("sigaction");
}

static void run_start(char **arguments)
{
	const char *how = arguments[1];
	char byte;

	received_count = 0;
	ended = 0;
	calls_library = !strcmp(how, "handler");
	handle(!strcmp(how, "read"), !strcmp(how, "mixed"));
	if (!silent[1])
		make_pipe(silent);
	answer("started");
	while (!ended) {
		if (!strcmp(how, "pause"))
			usleep(100000);
		else if (!strcmp(how, "read") || !strcmp(how, "mixed"))
			(void)!read(silent[0], &byte, 1);
		else
			version();
	}
	for (unsigned int i = 0; i < received_count; i++)
		answer("%d %d", received[i].number, received[i].value);
	answer("end");
}

static struct {
	pthread_t thread;
	int asynchronous;
	int id;
	int cleanups;
} blocked;

static void clean_up(void *argument)
{
	(void)argument;
	blocked.cleanups++;
}

static void *block(void *argument)
{
	int before;
	char byte;

	(void)argument;
	pthread_cleanup_push(clean_up, NULL);
	if (blocked.asynchronous)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	__atomic_store_n(&blocked.id, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	while (read(silent[0], &byte, 1) < 0)
		;
	pthread_cleanup_pop(0);
	return NULL;
}

static void run_block(char **arguments)
{
	memset(&blocked, 0, sizeof(blocked));
	blocked.asynchronous = !strcmp(arguments[1], "asynchronous");
	if (!silent[1])
		make_pipe(silent);
	blocked.thread = start_thread(block, NULL);
	answer("%d", wait_for_flag(&blocked.id));
}

static void run_cancel(char **arguments)
{
	(void)arguments;
	errno = pthread_cancel(blocked.thread);
	if (errno)
		die("pthread_cancel");
	answer("sent");
}

static void run_join(char **arguments)
{
	int cancelled = join_thread(blocked.thread) == PTHREAD_CANCELED;

	(void)arguments;
	answer("%d %d", cancelled, blocked.cleanups);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"start", run_start},   {"version", run_version}, {"block", run_block},
		{"cancel", run_cancel}, {"join", run_join},       {NULL, NULL},
	};

	return serve(commands);
}
