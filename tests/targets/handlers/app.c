/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signal handlers that enter the library, or that the program lives in.
 *
 *   version        -> the version that the main thread gets
 *   loop           -> a thread opens and closes the program with the loader, over and over
 *   poke N         -> N signals to it, one after the other; the versions that its handler got, each once
 *   stop           -> how often that thread has been through the loader; it has ended
 *   live PLACE     -> a signal interrupts the main thread in PLACE, and its handler serves from then on; it
 *                     answers: mask, in sigprocmask(); stdio, in fflush(), with the stream's lock held
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>

#include "../version.h"

static const struct victim_command commands[];

static pthread_t looping;
static int stopped;
static unsigned long rounds;
static unsigned long poked;
static int got;

static void *loop(void *unused)
{
	while (!__atomic_load_n(&stopped, __ATOMIC_ACQUIRE)) {
		void *handle = dlopen(NULL, RTLD_NOW);

		if (!handle || dlclose(handle))
			die("dlopen");
		rounds++;
	}
	return unused;
}

static void enter(int signal_number)
{
	(void)signal_number;
	got = version();
	__atomic_add_fetch(&poked, 1, __ATOMIC_RELEASE);
}

static void handle(int signal_number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

	if (sigaction(signal_number, &action, NULL))
		die("sigaction");
}

static void run_loop(char **arguments)
{
	(void)arguments;
	handle(SIGUSR1, enter);
	looping = start_thread(loop, NULL);
	answer("looping");
}

static void run_poke(char **arguments)
{
	int wanted = atoi(arguments[1]);
	int seen[10] = {0};
	char line[32] = "";

	for (int i = 0; i < wanted; i++) {
		unsigned long before = __atomic_load_n(&poked, __ATOMIC_ACQUIRE);

		if (pthread_kill(looping, SIGUSR1))
			die("pthread_kill");
		wait_for_count(&poked, before + 1);
		seen[number_below(10, (char[]){(char)('0' + got), 0})] = 1;
	}
	for (int i = 0; i < 10; i++)
		if (seen[i])
			snprintf(line + strlen(line), sizeof line - strlen(line), "%s%d",
				 *line ? " " : "", i);
	answer("%s", line);
}

static void run_stop(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&stopped, 1, __ATOMIC_RELEASE);
	join_thread(looping);
	answer("%lu", rounds);
}

static void live(int signal_number)
{
	(void)signal_number;
	serve(commands);
	_exit(0);
}

static void live_in_sigprocmask(void)
{
	sigset_t blocked, before;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR2);
	if (sigprocmask(SIG_BLOCK, &blocked, &before) || kill(getpid(), SIGUSR2))
		die("sigprocmask");
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void *interrupt(void *main_thread)
{
	/* By then the stream has filled the pipe. */
	usleep(100000);
	if (pthread_kill(*(pthread_t *)main_thread, SIGUSR2))
		die("pthread_kill");
	return NULL;
}

static void live_in_fflush(void)
{
	pthread_t self = pthread_self();
	int ends[2];
	FILE *stream;

	make_pipe(ends);
	stream = fdopen(ends[1], "w");
	if (!stream)
		die("fdopen");
	start_thread(interrupt, &self);
	for (;;)
		fputs("more than a pipe can take", stream);
}

static void run_live(char **arguments)
{
	handle(SIGUSR2, live);
	if (!strcmp(arguments[1], "mask"))
		live_in_sigprocmask();
	else
		live_in_fflush();
	die("no signal");
}

static const struct victim_command commands[] = {
	{"version", run_version}, {"loop", run_loop}, {"poke", run_poke},
	{"stop", run_stop},       {"live", run_live}, {NULL, NULL},
};

int main(void)
{
	return serve(commands);
}
