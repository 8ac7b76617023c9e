/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The runtime's unwinder sees what the compiler's does, frame by frame, from every single
 * instruction of a good deal of code that is not the runtime's: the C library, the loader, handlers
 * on top of them, on stacks of every kind.
 *
 * The processor's trap flag stops after each instruction; the handler walks with both.  Seen to
 * fail with a rule missing for every kind of call frame instruction that is met here.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <search.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "check.h"
#include "runtime/image_table.h"
#include "runtime/stack.h"

#define FRAMES 128

void throw_and_catch(void) __attribute__((weak));

struct trace {
	struct ulp_frame frame[FRAMES];
	unsigned count;
	bool interrupted; /* frames before are the handler's own */
	bool complete;
};

static bool note(const struct ulp_frame *frame, void *argument)
{
	struct trace *trace = argument;

	trace->interrupted |= frame->interrupted;
	if (trace->interrupted && trace->count < FRAMES)
		trace->frame[trace->count++] = *frame;
	return true;
}

static _Unwind_Reason_Code note_other(struct _Unwind_Context *context, void *argument)
{
	struct trace *trace = argument;
	int interrupted = 0;
	struct ulp_frame frame = {
		.instruction = _Unwind_GetIPInfo(context, &interrupted),
		.cfa_of_callee = _Unwind_GetCFA(context),
		.function = _Unwind_GetRegionStart(context),
	};

	if (!frame.instruction) {
		trace->complete = true;
		return _URC_NO_REASON;
	}
	frame.interrupted = interrupted;
	note(&frame, trace);
	return _URC_NO_REASON;
}

static uint64_t libgcc_start, libgcc_end;
static unsigned long steps, compared;
static uint64_t longest;

static void say_where(const char *what, const struct trace *ours, const struct trace *other,
		      unsigned at)
{
	fprintf(stderr, "%s at frame %u, %u and %u frames, complete %d and %d\n", what, at,
		ours->count, other->count, ours->complete, other->complete);
	for (unsigned i = 0; i < ours->count || i < other->count; i++) {
		const struct trace *longer = i < ours->count ? ours : other;
		Dl_info info = {0};

		dladdr((void *)longer->frame[i].instruction, &info);
		fprintf(stderr, "  %lx %lx %lx %d | %lx %lx %lx %d  %s %s\n",
			ours->frame[i].instruction, ours->frame[i].cfa_of_callee,
			ours->frame[i].function, ours->frame[i].interrupted,
			other->frame[i].instruction, other->frame[i].cfa_of_callee,
			other->frame[i].function, other->frame[i].interrupted,
			info.dli_fname ? info.dli_fname : "?",
			info.dli_sname ? info.dli_sname : "?");
	}
	_exit(1);
}

static void compare(void)
{
	struct trace ours = {.count = 0}, other = {.count = 0};

	ours.complete = ulp_stack_walk(note, &ours);
	/*
	 * Where it puts a thread back into the frame that catches an exception, its own frames are
	 * not described, and it would read where nothing is.  That ours does not is enough.
	 */
	if (ours.frame[0].instruction >= libgcc_start && ours.frame[0].instruction < libgcc_end)
		return;
	_Unwind_Backtrace(note_other, &other);
	for (unsigned i = 0; i < ours.count && i < other.count; i++)
		if (ours.frame[i].instruction != other.frame[i].instruction ||
		    ours.frame[i].cfa_of_callee != other.frame[i].cfa_of_callee ||
		    /* Without a description libgcc leaves that of the frame before. */
		    (ours.frame[i].function && ours.frame[i].function != other.frame[i].function) ||
		    ours.frame[i].interrupted != other.frame[i].interrupted)
			say_where("they differ", &ours, &other, i);
	if (ours.count != other.count || ours.complete != other.complete)
		say_where("they end differently", &ours, &other, ours.count);
	__atomic_fetch_add(&compared, ours.count, __ATOMIC_RELAXED);
	if (ours.count > longest)
		longest = ours.count;
}

static void on_step(int signal_number, siginfo_t *info, void *context)
{
	(void)signal_number;
	(void)info;
	(void)context;
	__atomic_fetch_add(&steps, 1, __ATOMIC_RELAXED);
	compare();
}

static inline void start_stepping(void)
{
	__asm__ volatile("pushf; orl $0x100, (%%rsp); popf" ::: "memory", "cc");
}

static inline void stop_stepping(void)
{
	__asm__ volatile("pushf; andl $~0x100, (%%rsp); popf" ::: "memory", "cc");
}

/* ------------------------------------------------------------------ what is stepped through */

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

__attribute__((noinline, optimize("omit-frame-pointer"))) static int grow(unsigned size)
{
	volatile char *memory = __builtin_alloca(size);

	memory[size - 1] = 1;
	return size > 16 ? grow(size / 2) + memory[size - 1] : 1;
}

__attribute__((noinline, optimize("O0"))) static int recurse(int depth)
{
	return depth ? recurse(depth - 1) + 1 : 0;
}

static void on_signal(int signal_number)
{
	(void)signal_number;
	recurse(2);
}

static void visit(const void *node, VISIT which, int depth)
{
	(void)node;
	(void)which;
	(void)depth;
}

static void forget(void *node)
{
	(void)node;
}

/* An expression for a register, and a state that is remembered, which compilers seldom write. */
__attribute__((noinline)) static uint64_t by_hand(void)
{
	uint64_t result;

	__asm__ volatile(".cfi_remember_state\n\t"
			 ".cfi_escape 0x16, 3, 2, 0x73, 0\n\t" /* rbx is what rbx + 0 is */
			 "mov %%rbx, %0\n\t"
			 ".cfi_restore_state"
			 : "=r"(result));
	return result;
}

static void once(void)
{
	recurse(1);
}

static void jump_back(void)
{
	static jmp_buf place;

	if (setjmp(place) == 0)
		longjmp(place, 1);
}

static void use_c_library(void)
{
	static pthread_once_t control = PTHREAD_ONCE_INIT;
	int numbers[] = {5, 3, 8, 1, 9, 2}, wanted = 8;
	void *tree = NULL;
	char text[128];

	qsort(numbers, 6, sizeof *numbers, by_value);
	bsearch(&wanted, numbers, 6, sizeof *numbers, by_value);
	for (int i = 0; i < 6; i++)
		tsearch(&numbers[i], &tree, by_value);
	twalk(tree, visit);
	tdestroy(tree, forget);
	pthread_once(&control, once);
	snprintf(text, sizeof text, "%s %d %f", "text", 42, 3.25);
	strtod(text + 8, NULL);
	memmove(text + 1, text, 100);
	free(malloc(100000));
}

static void use_kernel(void)
{
	struct timespec now;
	pid_t child;

	clock_gettime(CLOCK_MONOTONIC, &now);
	nanosleep(&(struct timespec){.tv_nsec = 1}, NULL);
	/* Not raise(), nor pthread_create(), which block the signal that the flag makes. */
	kill(getpid(), SIGUSR1);
	child = vfork();
	if (child == 0)
		_exit(0);
	stop_stepping();
	CHECK(child > 0 && waitpid(child, NULL, 0) == child);
	start_stepping();
}

static void use_loader(void)
{
	/* Not bound before: the loader looks it up on the first call. */
	getsid(0);
	dlsym(RTLD_DEFAULT, "no such symbol");
	dlerror();
	dlclose(dlopen("libm.so.6", RTLD_LAZY));
}

static void *everything(void *argument)
{
	static bool thoroughly = true; /* once, on the main thread */

	struct sigaction step = {.sa_sigaction = on_step,
				 .sa_flags = SA_SIGINFO | (argument ? SA_ONSTACK : 0)};

	CHECK(sigaction(SIGTRAP, &step, NULL) == 0);
	start_stepping();
	grow(4096);
	recurse(20);
	by_hand();
	jump_back();
	use_kernel();
	if (thoroughly) {
		use_c_library();
		use_loader();
		if (throw_and_catch)
			throw_and_catch();
	}
	stop_stepping();
	thoroughly = false;
	return NULL;
}

static void expect(const char *where, unsigned long least_steps, unsigned least_frames)
{
	printf("%s: %lu steps, %lu frames, %lu at once\n", where, steps, compared, longest);
	fflush(stdout);
	CHECK(steps >= least_steps && longest >= least_frames);
	steps = compared = longest = 0;
}

static char coroutine_stack[256 << 10], alternate[64 << 10];
static ucontext_t coroutine, back;

static void in_coroutine(void)
{
	everything(NULL);
	swapcontext(&coroutine, &back);
}

int main(int argc, char **argv)
{
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
	struct sigaction action = {.sa_handler = on_signal};
	struct dl_find_object libgcc;
	pthread_t thread;

	CHECK(_dl_find_object((void *)_Unwind_Backtrace, &libgcc) == 0);
	libgcc_start = (uint64_t)libgcc.dlfo_map_start;
	libgcc_end = (uint64_t)libgcc.dlfo_map_end;
	ulp_images_learn(argc, argv);
	ulp_stack_learn(argv);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	/* Bound before, or the loader would be stepped through in the middle of a comparison. */
	ulp_images_refresh();
	compare();

	everything(NULL);
	expect("main thread", 20000, 20);
	CHECK(pthread_create(&thread, NULL, everything, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	expect("another thread", 500, 20);
	CHECK(sigaltstack(&stack, NULL) == 0);
	everything(argv);
	expect("handler on an alternate stack", 500, 20);
	getcontext(&coroutine);
	coroutine.uc_stack.ss_sp = coroutine_stack;
	coroutine.uc_stack.ss_size = sizeof coroutine_stack;
	makecontext(&coroutine, in_coroutine, 0);
	CHECK(swapcontext(&back, &coroutine) == 0);
	expect("coroutine", 500, 20);
	return 0;
}
