/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LEAVING_H
#define LEAVING_H

#define LEVELS 8

/* What a recursion saw on each level. */
struct descent {
	int own[LEVELS];    /* which version of descend it was */
	int before[LEVELS]; /* version() on the way down */
	int after[LEVELS];  /* and on the way up */
};

int version(void);

/*
 * Calls itself by way of another function of the library, LEVELS deep.  On level `blocking`
 * it first blocks in read(fd), having set *inside.
 */
void descend(struct descent *descent, int level, int blocking, int fd, int *inside);

/* Blocks in read(fd), having set *inside; then *seen is version(), and the thread ends here. */
void end_by_pthread_exit(int fd, int *inside, int *seen);
void end_by_system_call(int fd, int *inside, int *seen);

/* Likewise, but the callback ends it. */
void end_in_callback(int fd, int *inside, int *seen, void (*callback)(void));

#endif
