/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * To be preloaded: a callback of dl_iterate_phdr() waits until somebody opens the FIFO that GATE names for writing.
 * Meanwhile no dlopen() comes to its end.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static int wait_for_gate(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)info;
	(void)size;
	(void)unused;
	close(open(getenv("GATE"), O_RDONLY));
	return 1;
}

static void *iterate(void *unused)
{
	dl_iterate_phdr(wait_for_gate, NULL);
	return unused;
}

__attribute__((constructor)) static void start(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, iterate, NULL))
		abort();
}
