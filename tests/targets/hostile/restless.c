/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that never is what it was a moment before: "restless MODE [again]", linked against the
 * library. All the time it
 *   executes    executes itself;
 *   threads     starts threads that enter the library and end;
 *   stopped     is stopped and continued by a child;
 *   traced      is traced by a child, which stops it, lets it go on and lets go of it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int version(void);

#define PAUSE_US 1000
#define TOGETHER 4

static void *enter(void *argument)
{
	version();
	return argument;
}

static void start_threads(void)
{
	pthread_t threads[TOGETHER];

	for (int number = 0; number < TOGETHER; number++)
		if (pthread_create(&threads[number], NULL, enter, NULL))
			_exit(3);
	for (int number = 0; number < TOGETHER; number++)
		pthread_join(threads[number], NULL);
}

static void pester(pid_t parent, const char *mode)
{
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent) {
		if (!strcmp(mode, "stopped")) {
			kill(parent, SIGSTOP);
			usleep(PAUSE_US);
			kill(parent, SIGCONT);
		} else if (!ptrace(PTRACE_SEIZE, parent, NULL, NULL)) {
			ptrace(PTRACE_INTERRUPT, parent, NULL, NULL);
			waitpid(parent, &status, __WALL);
			usleep(PAUSE_US);
			ptrace(PTRACE_DETACH, parent, NULL, NULL);
		}
		usleep(PAUSE_US);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	version();
	if (argc == 2) {
		pid_t parent = getpid();

		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
		if ((!strcmp(mode, "stopped") || !strcmp(mode, "traced")) && !fork())
			pester(parent, mode);
		puts("ready");
		fflush(stdout);
	}
	for (;;) {
		usleep(PAUSE_US);
		version();
		if (!strcmp(mode, "executes"))
			execl("/proc/self/exe", argv[0], mode, "again", (char *)NULL);
		else if (!strcmp(mode, "threads"))
			start_threads();
	}
}
