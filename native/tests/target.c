/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "target.h"

int answer(int question)
{
	return question + 1;
}

int twice(int question)
{
	int first = answer(question);

	__asm__ volatile("" ::: "memory");
	return first + answer(question);
}

int answer_after(void (*callback)(void *), void *argument, int question)
{
	callback(argument);
	int result = answer(question);

	__asm__ volatile("" ::: "memory");
	return result;
}

int tail_of(int question)
{
	return question + 5;
}

int jump_after(void (*callback)(void *), void *argument, int question)
{
	callback(argument);
	return tail_of(question);
}

static void note(struct path *path)
{
	path->versions |= OLD_VERSION;
	path->callback();
}

void even(struct path *path, int steps)
{
	note(path);
	if (steps > 0)
		odd(path, steps - 1);
}

void odd(struct path *path, int steps)
{
	note(path);
	if (steps > 0)
		even(path, steps - 1);
}

void last(struct path *path)
{
	note(path);
}

/* Exported, so that the compiler can't know what it points to. */
extern void (*next)(struct path *path);
void (*next)(struct path *path) = last;

void first(struct path *path)
{
	note(path);
	next(path);
}

struct recorded written __attribute__((visibility("hidden")));

/* The compiler adds nothing but the padding. */
__attribute__((naked)) void record(void)
{
	__asm__("mov %rax, written(%rip)\n"
		"mov %rdi, written+8(%rip)\n"
		"mov %rsi, written+16(%rip)\n"
		"mov %rdx, written+24(%rip)\n"
		"mov %rcx, written+32(%rip)\n"
		"mov %r8, written+40(%rip)\n"
		"mov %r9, written+48(%rip)\n"
		"mov %r10, written+56(%rip)\n"
		"mov %r11, written+64(%rip)\n"
		"mov %rsp, written+72(%rip)\n"
		"vmovups %ymm0, written+80(%rip)\n"
		"vmovups %ymm1, written+112(%rip)\n"
		"vmovups %ymm2, written+144(%rip)\n"
		"vmovups %ymm3, written+176(%rip)\n"
		"vmovups %ymm4, written+208(%rip)\n"
		"vmovups %ymm5, written+240(%rip)\n"
		"vmovups %ymm6, written+272(%rip)\n"
		"vmovups %ymm7, written+304(%rip)\n"
		"vmovups %ymm8, written+336(%rip)\n"
		"vmovups %ymm9, written+368(%rip)\n"
		"vmovups %ymm10, written+400(%rip)\n"
		"vmovups %ymm11, written+432(%rip)\n"
		"vmovups %ymm12, written+464(%rip)\n"
		"vmovups %ymm13, written+496(%rip)\n"
		"vmovups %ymm14, written+528(%rip)\n"
		"vmovups %ymm15, written+560(%rip)\n"
		"ret");
}

extern int elsewhere(int x) __attribute__((weak));

int jump_elsewhere(int x)
{
	return elsewhere(x);
}

const struct recorded *recorded(void)
{
	return &written;
}
