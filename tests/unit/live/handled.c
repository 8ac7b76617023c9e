/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A victim that lives in the handler of a signal, as PostgreSQL's helpers do: "handled MODE 1 FILE", to
 * be built with frame pointers; FILE is as for busy.c. The handler has interrupted, in the mode
 *   sigprocmask  that function, which lets the signal through;
 *   raise        a function of the C library of which nobody knows whether it holds a lock.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

int answer(int value);

#define PAUSE_MS 5

static volatile long *shown;

static void live(int number)
{
	struct epoll_event event;
	int waits = epoll_create1(0);

	(void)number;
	if (waits < 0)
		_exit(2);
	for (;;) {
		shown[0] = answer(1);
		shown[1]++;
		if (epoll_wait(waits, &event, 1, PAUSE_MS))
			_exit(1);
	}
}

int main(int argc, char **argv)
{
	int file = argc == 4 ? open(argv[3], O_RDWR) : -1;
	sigset_t mask;

	if (file < 0)
		return 2;
	shown = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (shown == MAP_FAILED || signal(SIGUSR1, live) == SIG_ERR)
		return 2;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	if (!strcmp(argv[1], "raise"))
		raise(SIGUSR1);
	else if (!sigprocmask(SIG_BLOCK, &mask, NULL) && !kill(getpid(), SIGUSR1))
		sigprocmask(SIG_UNBLOCK, &mask, NULL);
	/* The handler never returns. */
	return 2;
}
