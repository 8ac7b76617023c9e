/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version        -> the version that the main thread gets, on the stack that it was started with
 *   enter KIND     -> the same, in a coroutine
 *   suspend KIND   -> a coroutine calls the library and gives up the thread in a callback from it
 *   resume         -> as two digits, the versions that it saw before and after that
 *   overwrite      -> the memory of its stack is used for something else
 *
 * KIND says how stacks are changed: context, by the C library, where no unwinder finds the end;
 * or own, by a few instructions, with a clear end, as coroutine libraries do.
 */
#include <stdint.h>
#include <ucontext.h>

#include "../version.h"

int version(void);
int around(void (*callback)(void));

#define STACK_SIZE (64 << 10)

/* Saves the callee-saved registers on the one stack, and takes them from the other. */
void change_stacks(void **from, void *to);
__asm__(".text\n"
	".type change_stacks, @function\n"
	"change_stacks:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size change_stacks, . - change_stacks\n");

static ucontext_t thread_context, coroutine_context;
static void *thread_stack, *coroutine_stack;
static void *memory;
static int own;
static void (*body)(void);
static int seen;

static void to_thread(void)
{
	if (own)
		change_stacks(&coroutine_stack, thread_stack);
	else if (swapcontext(&coroutine_context, &thread_context))
		die("swapcontext");
}

static void to_coroutine(void)
{
	if (own)
		change_stacks(&thread_stack, coroutine_stack);
	else if (swapcontext(&thread_context, &coroutine_context))
		die("swapcontext");
}

static void run_body(void)
{
	body();
	to_thread();
	abort();
}

static void just_enter(void)
{
	seen = version();
}

static void enter_and_wait(void)
{
	seen = around(to_thread);
}

static void start(const char *kind, void (*what)(void))
{
	memory = malloc(STACK_SIZE);
	if (!memory || getcontext(&coroutine_context))
		die("getcontext");
	body = what;
	own = !strcmp(kind, "own");
	if (own) {
		uint64_t *top = (uint64_t *)(((uintptr_t)memory + STACK_SIZE) & ~15ull);

		/* As if run_body had been called from nowhere. */
		*--top = 0;
		*--top = 0;
		*--top = (uint64_t)run_body;
		for (int i = 0; i < 6; i++)
			*--top = 0;
		coroutine_stack = top;
	} else {
		coroutine_context.uc_stack.ss_sp = memory;
		coroutine_context.uc_stack.ss_size = STACK_SIZE;
		makecontext(&coroutine_context, run_body, 0);
	}
	to_coroutine();
}

static void run_enter(char **arguments)
{
	start(arguments[1], just_enter);
	free(memory);
	answer("%d", seen);
}

static void run_suspend(char **arguments)
{
	start(arguments[1], enter_and_wait);
	answer("suspended");
}

static void run_resume(char **arguments)
{
	(void)arguments;
	to_coroutine();
	free(memory);
	answer("%d", seen);
}

static void run_overwrite(char **arguments)
{
	(void)arguments;
	memory = malloc(STACK_SIZE);
	if (!memory)
		die("malloc");
	memset(memory, 0, STACK_SIZE);
	answer("overwritten");
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version}, {"enter", run_enter},         {"suspend", run_suspend},
		{"resume", run_resume},   {"overwrite", run_overwrite}, {NULL, NULL},
	};

	return serve(commands);
}
