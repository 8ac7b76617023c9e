/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From every single instruction between a caller and a function without padding, replaced or not, an unwinder reaches
 * main(): through cell, stub and slow path.  Left out are landings, and jumps in gaps.  A signal handler that comes
 * there, and enters the library again, must not be taken for one that comes from outside: seen to give the new version
 * without the landings in entering.h, and to take the handler for a coroutine without step_over_landing() in unwind.c.
 *
 * The registers that belong to the caller are found as well, also where the instruction at the site changes one that was
 * pushed: seen to fail at the last jump of the cell without the table of saved registers.
 *
 * The processor's trap flag stops after each instruction; the handler unwinds.
 */
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unwind.h>

#include "stock.h"
#include "target.h"

static const void *const functions[] = {
	stock_plain, stock_relative, stock_jump,  stock_frame, stock_pushes,
	stock_endbr, stock_outer,    stock_short, stock_saved, NULL};
static const struct pair pairs[] = {
	{stock_plain, "new_answer"},
	{stock_jump, "new_answer"},
	{stock_frame, "new_answer"},
	{stock_endbr, "new_answer"},
	{stock_pushes, "new_after"},
	{stock_short, "new_answer"},
	{NULL, NULL},
};

static volatile unsigned long steps, in_runtime, at_landings, incomplete, changed;
static volatile uint64_t first_incomplete, first_changed;
static volatile bool enters_at_landing;
static volatile unsigned long kept_at_landing;

static void *caller_to_find;
static struct dl_find_object runtime, library;

/* DWARF numbers of rbx, rbp, r12 to r15, and what stock_with_registers() has in them when it calls. */
static const int saved[] = {3, 6, 12, 13, 14, 15};
#define VALUE(number) (0x0101010101010101ull * (unsigned)(number))

struct trace {
	bool caller;
	bool complete;
	bool kept; /* the registers of stock_with_registers() are what it put there */
};

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *argument)
{
	struct trace *trace = argument;

	if (_Unwind_GetIP(context) == 0)
		trace->complete = true;
	else if ((void *)_Unwind_GetRegionStart(context) == caller_to_find)
		trace->caller = true;
	if ((void *)_Unwind_GetRegionStart(context) == (void *)stock_with_registers)
		for (unsigned i = 0; i < sizeof saved / sizeof *saved; i++)
			trace->kept &= _Unwind_GetGR(context, saved[i]) == VALUE(saved[i]);
	return _URC_NO_REASON;
}

static bool within(const struct dl_find_object *object, uint64_t address)
{
	return address >= (uint64_t)object->dlfo_map_start &&
	       address < (uint64_t)object->dlfo_map_end;
}

/* The jump there leads to the landing; 0: there is none. */
static uint64_t gap_of(const struct ulp_hook *hook)
{
	int32_t distance;

	if (hook->kind != ULP_HOOK_SHORT)
		return 0;
	memcpy(&distance, &hook->code[3], sizeof distance);
	return hook->landing - 5 - (uint64_t)distance;
}

/* Or the jump in a gap that leads there. */
static bool is_landing(uint64_t instruction)
{
	for (uint32_t i = 0; i < STATE->library_count; i++) {
		const struct ulp_hooks *table = (const void *)STATE->libraries[i].hooks;
		const struct ulp_hook *hook = (const void *)(table + 1);

		for (uint64_t k = 0; k < STATE->libraries[i].hooks_count; k++)
			if (hook[k].landing == instruction || gap_of(&hook[k]) == instruction)
				return true;
	}
	return false;
}

static void on_step(int number, siginfo_t *info, void *context)
{
	uint64_t instruction = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	struct trace trace = {.kept = true};

	(void)number;
	(void)info;
	steps++;
	if (is_landing(instruction)) {
		at_landings++;
		if (enters_at_landing) {
			uint64_t kept = STATE->domains[0].kept;

			enters_at_landing = false;
			/* The interrupted entry has not been decided yet, and it is not this one's to decide. */
			CHECK(stock_plain(10) == 11);
			kept_at_landing += STATE->domains[0].kept - kept;
		}
		return;
	}
	if (!within(&runtime, instruction) && !within(&library, instruction))
		return;
	in_runtime += within(&runtime, instruction);
	_Unwind_Backtrace(look, &trace);
	if (!trace.caller || !trace.complete)
		if (!incomplete++)
			first_incomplete = instruction;
	/* It is about to put them there, or to take them away. */
	if (_Unwind_FindEnclosingFunction((void *)(instruction + 1)) !=
		    (void *)stock_with_registers &&
	    !trace.kept)
		if (!changed++)
			first_changed = instruction;
}

static inline void start_stepping(void)
{
	__asm__ volatile("pushf; orl $0x100, (%%rsp); popf" ::: "memory", "cc");
}

static inline void stop_stepping(void)
{
	__asm__ volatile("pushf; andl $~0x100, (%%rsp); popf" ::: "memory", "cc");
}

static void nothing(void *argument)
{
	(void)argument;
}

__attribute__((noinline)) static int stepped_calls(void)
{
	int sum;

	start_stepping();
	sum = stock_plain(10) + stock_relative(10) + stock_jump(10) + stock_frame(10) +
	      stock_pushes(nothing, NULL, 10) + stock_endbr(10) + stock_short(10) +
	      stock_with_registers(stock_saved, nothing, NULL, 10) +
	      stock_with_registers(stock_pushes, nothing, NULL, 10);
	stop_stepping();
	return sum;
}

static void expect(const char *what, int sum)
{
	steps = in_runtime = at_landings = incomplete = changed = 0;
	CHECK(stepped_calls() == sum);
	printf("%s: %lu steps, %lu of them in the runtime\n", what, steps, in_runtime);
	if (incomplete)
		fprintf(stderr,
			"%s: %lu instructions without a complete way out, first at "
			"runtime+0x%llx\n",
			what, incomplete,
			(unsigned long long)(first_incomplete - (uint64_t)runtime.dlfo_map_start));
	CHECK(incomplete == 0);
	if (changed)
		fprintf(stderr,
			"%s: %lu instructions with another register, first at runtime+0x%llx\n",
			what, changed,
			(unsigned long long)(first_changed - (uint64_t)runtime.dlfo_map_start));
	CHECK(changed == 0);
	/* Nine landings, and a gap. */
	CHECK(at_landings == 10 && in_runtime > 9 * 5);
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_NODEFER};
	static char room[1 << 16];
	const stack_t alternate = {.ss_sp = room, .ss_size = sizeof room};
	int old = 11 + 17 + 12 + 13 + 14 + 15 + 17 + 18 + 14, new = 7 * 1010 + 17 + 18;

	stock = stock_sites;
	CHECK(answer(1) == 2);
	CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
	caller_to_find = (void *)stepped_calls;
	CHECK(_dl_find_object(STATE, &runtime) == 0);
	CHECK(_dl_find_object((void *)stock_plain, &library) == 0);

	apply(1, PATCH_PATH, false, functions, pairs);
	expect("slow path, and the new version", new);
	expect("the new version", new);
	revert(1);
	expect("slow path, and the old version", old);
	expect("the old version", old);

	/*
	 * Not yet decided: this thread has the number from before.  The handler is on a stack of its own, which is told
	 * from a coroutine's by where the interrupted frames lead.
	 */
	apply(1, PATCH_PATH, false, functions, pairs);
	action.sa_flags |= SA_ONSTACK;
	CHECK(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGTRAP, &action, NULL) == 0);
	enters_at_landing = true;
	steps = 0;
	CHECK(stepped_calls() == new);
	CHECK(!enters_at_landing && kept_at_landing == 1 && STATE->domains[0].coroutines == 0);
	return 0;
}
