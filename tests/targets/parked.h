/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A thread that goes somewhere, blocks there in read(), and goes on when it is told to. */
#ifndef PARKED_H
#define PARKED_H

#include "victim.h"

struct parked {
	pthread_t thread;
	int pipe[2]; /* it blocks until there is a byte to read */
	int inside;  /* set right before it blocks, by stay() or by the library */
};

/* Does not wait: use wait_for_flag() on what the thread sets before it blocks. */
static inline void park_thread(struct parked *parked, void *(*body)(void *), void *argument)
{
	parked->inside = 0;
	make_pipe(parked->pipe);
	parked->thread = start_thread(body, argument);
}

/* What blocks, where it is not the library that does. */
static inline void stay(struct parked *parked)
{
	__atomic_store_n(&parked->inside, 1, __ATOMIC_RELEASE);
	wait_for_byte(parked->pipe[0]);
}

/* Waits for the thread's end, however that comes, and returns its result. */
static inline void *join_parked(struct parked *parked)
{
	void *result = join_thread(parked->thread);

	close(parked->pipe[0]);
	close(parked->pipe[1]);
	return result;
}

static inline void *release_thread(struct parked *parked)
{
	send_byte(parked->pipe[1]);
	return join_parked(parked);
}

#endif
