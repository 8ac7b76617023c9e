/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TARGET_H
#define TARGET_H

#include <stdint.h>

int answer(int question);
int twice(int question);
/* Calls back, then answers. */
int answer_after(void (*callback)(void *), void *argument, int question);
/* Calls back, then jumps to tail_of: no frame of it is left. */
int jump_after(void (*callback)(void *), void *argument, int question);
int tail_of(int question);
/* Jumps to a function that the program may define, whose address the loader finds then. */
int jump_elsewhere(int x);

/* Each function on the path notes its version, then calls back. */
#define OLD_VERSION 1u
#define NEW_VERSION 2u
struct path {
	void (*callback)(void);
	unsigned versions;
};
/* Two states of a machine, each of which leaves by a jump to the other. */
void even(struct path *path, int steps);
void odd(struct path *path, int steps);
/* Leaves by a jump through a pointer to last(). */
void first(struct path *path);
void last(struct path *path);

/* Writes down every register that can carry an argument, in the order of registers.S. */
void record(void);
struct recorded {
	uint64_t general[10];   /* rax rdi rsi rdx rcx r8 r9 r10 r11 rsp */
	uint64_t vector[16][4]; /* ymm0..15 */
};
const struct recorded *recorded(void);

#endif
