/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef BLOCKED_H
#define BLOCKED_H

#define BLOCKED_SHAPES 4

/* What a thread that blocked inside the library saw of version() on its way. */
struct passage {
	int entered; /* version() before it blocked; set last, so it also tells that it is inside */
	int through; /* by an exported name */
	int direct;  /* by a direct call of a hidden function */
	int pointer; /* by a pointer to a hidden function */
};

int version(void);

/* Blocks in read(fd), and looks at the version before and after. */
int hold(int fd, struct passage *passage);

/* Blocks, then jumps (at -O2) to the exported function: its frame is gone by then. */
int relay(int fd, struct passage *passage);

/* Likewise, to a hidden function. */
int relay_hidden(int fd, struct passage *passage);

#endif
