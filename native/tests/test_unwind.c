/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From every single instruction between a caller and a patched function, and between
 * the diversion of a thread and its return, an unwinder reaches main().  And none of them lies
 * outside of the runtime and what is patched, but for the kernel's own that tell the time.
 *
 * The processor's trap flag stops after each instruction; the handler unwinds.
 */
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <ucontext.h>
#include <unwind.h>

#include "harness.h"
#include "target.h"

int main(void);
int undescribed_call(int (*function)(int), int argument);

static const void *const functions[] = {answer, twice, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static volatile unsigned long steps, in_runtime, incomplete, outside;
static volatile uint64_t first_incomplete, first_outside;

struct trace {
	bool caller;
	bool complete;
	void *start_of_caller;
};

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *argument)
{
	struct trace *trace = argument;

	if (_Unwind_GetIP(context) == 0)
		trace->complete = true;
	else if ((void *)_Unwind_GetRegionStart(context) == trace->start_of_caller)
		trace->caller = true;
	return _URC_NO_REASON;
}

static void *caller_to_find;
static uint64_t runtime_start, runtime_end;

/* The program, target and patch library, the vdso. */
#define OBJECTS 4
static struct dl_find_object own[OBJECTS];

static bool in_own(uint64_t instruction)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		if (instruction >= (uint64_t)own[i].dlfo_map_start &&
		    instruction < (uint64_t)own[i].dlfo_map_end)
			return true;
	return false;
}

static void on_step(int signal_number, siginfo_t *info, void *context)
{
	uint64_t instruction = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	struct trace trace = {.start_of_caller = caller_to_find};

	(void)signal_number;
	(void)info;
	steps++;
	if (instruction >= runtime_start && instruction < runtime_end)
		in_runtime++;
	else if (!in_own(instruction)) {
		if (!outside++)
			first_outside = instruction;
		return;
	} else if (instruction < (uint64_t)answer - ULP_PAD_BEFORE ||
		   instruction > (uint64_t)answer)
		return;
	/* The padding belongs to no frame description unless post gave it one. */
	if (instruction < (uint64_t)answer && instruction >= (uint64_t)answer - ULP_PAD_BEFORE)
		return;
	_Unwind_Backtrace(look, &trace);
	if (!trace.caller || !trace.complete) {
		if (!incomplete)
			first_incomplete = instruction;
		incomplete++;
	}
}

static inline void start_stepping(void)
{
	__asm__ volatile("pushf; orl $0x100, (%%rsp); popf" ::: "memory", "cc");
}

static inline void stop_stepping(void)
{
	__asm__ volatile("pushf; andl $~0x100, (%%rsp); popf" ::: "memory", "cc");
}

__attribute__((noinline)) static int stepped_call(int question)
{
	int result;

	start_stepping();
	result = answer(question);
	stop_stepping();
	return result;
}

static void expect_inside(const char *what)
{
	if (outside)
		fprintf(stderr, "%s: %lu instructions outside of the runtime, first at 0x%llx\n",
			what, outside, (unsigned long long)first_outside);
	CHECK(outside == 0);
	steps = in_runtime = 0;
}

static void expect_complete(const char *what)
{
	printf("%s: %lu steps, %lu of them in the runtime\n", what, steps, in_runtime);
	if (incomplete)
		fprintf(stderr,
			"%s: %lu instructions without a complete way out, first at "
			"runtime+0x%llx\n",
			what, incomplete, (unsigned long long)(first_incomplete - runtime_start));
	CHECK(incomplete == 0);
	CHECK(in_runtime > 5);
	expect_inside(what);
}

/* A caller without unwind information: the words on the stack decide. */
__attribute__((noinline)) static int stepped_undescribed_call(int question)
{
	int result;

	start_stepping();
	result = undescribed_call(answer, question);
	stop_stepping();
	return result;
}

static void find_own(unsigned i, const void *address)
{
	CHECK(_dl_find_object((void *)address, &own[i]) == 0);
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

	CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
	caller_to_find = (void *)stepped_call;
	struct dl_find_object runtime;

	CHECK(_dl_find_object(STATE, &runtime) == 0);
	runtime_start = (uint64_t)runtime.dlfo_map_start;
	runtime_end = (uint64_t)runtime.dlfo_map_end;
	find_own(0, (const void *)main);
	find_own(1, (const void *)answer);
	find_own(2, (const void *)getauxval(AT_SYSINFO_EHDR));
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	find_own(3, dlsym(dlopen(PATCH_PATH, RTLD_NOW | RTLD_NOLOAD), "new_answer"));
	CHECK(stepped_call(1) == 1001);
	expect_complete("slow path, stub and detour");
	CHECK(stepped_call(1) == 1001);
	expect_complete("stub and detour");
	revert(1);
	CHECK(stepped_call(1) == 2);
	expect_complete("slow path to the original");
	CHECK(stepped_call(1) == 2);
	expect_complete("stub to the original");
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(stepped_undescribed_call(1) == 1001);
	incomplete = 0;
	expect_inside("slow path by the words on the stack");
	return 0;
}
