/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thread, with a known value in every register that a program can use.
 *
 *   components      -> which extended state the processor has: bits of XCR0
 *   call MASK       -> "VERSION DIFFERENCE": what record() was entered with, and what it must leave,
 *                      with the components MASK; DIFFERENCE is the first thing that differs, or "none"
 *   spin MASK       -> "ADDRESS", then spins with all that and a red zone until the word there
 *                      is not 0; "DIFFERENCE"
 *   backwards       -> likewise, copying with the direction flag set
 *   chain           -> the version of the function that was called with a static chain
 *   nested          -> the version of a nested function; "none": the compiler has none
 */
#include "../victim.h"
#include "registers.h"

#include <cpuid.h>

#define MXCSR 24

/* What the assembly reads and writes. */
struct registers given, found, untouched;
uint64_t released;
uint64_t held_flags;
void (*const function)(void) = record;

void call_with_registers(void);
void spin_with_registers(void);

/* clang-format off */
#define PUSH(register) \
	"push %" #register "\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset " #register ", 0\n"
#define POP(register) \
	"pop %" #register "\n.cfi_adjust_cfa_offset -8\n.cfi_restore " #register "\n"

/*
 * Both functions save the thread's own extended state in `untouched` and put it back in the end.
 * No register serves as a pointer: everything is addressed by rip.
 */
#define ENTER(name) \
	".globl " name "\n" \
	".type " name ", @function\n" \
	name ":\n" \
	".cfi_startproc\n" \
	PUSH(rbx) PUSH(rbp) PUSH(r12) PUSH(r13) PUSH(r14) PUSH(r15) \
	"sub $8, %rsp\n.cfi_adjust_cfa_offset 8\n" \
	"mov given+" TEXT(MASK_OFFSET) "(%rip), %rax\n" \
	"xor %edx, %edx\n" \
	"xsave64 untouched+" TEXT(EXTENDED_OFFSET) "(%rip)\n" \
	"xrstor64 given+" TEXT(EXTENDED_OFFSET) "(%rip)\n"
#define LEAVE(name) \
	"mov given+" TEXT(MASK_OFFSET) "(%rip), %rax\n" \
	"xor %edx, %edx\n" \
	"xrstor64 untouched+" TEXT(EXTENDED_OFFSET) "(%rip)\n" \
	"add $8, %rsp\n.cfi_adjust_cfa_offset -8\n" \
	POP(r15) POP(r14) POP(r13) POP(r12) POP(rbp) POP(rbx) \
	"ret\n" \
	".cfi_endproc\n" \
	".size " name ", . - " name "\n"

#define LOAD(register, number) "mov given+8*" #number "(%rip), %" #register "\n"
#define LOAD_ALL \
	LOAD(rax, 0) LOAD(rcx, 1) LOAD(rdx, 2) LOAD(rbx, 3) LOAD(rbp, 5) \
	LOAD(rsi, 6) LOAD(rdi, 7) LOAD(r8, 8) LOAD(r9, 9) LOAD(r10, 10) \
	LOAD(r11, 11) LOAD(r12, 12) LOAD(r13, 13) LOAD(r14, 14) LOAD(r15, 15)
#define STORE(register, number) "mov %" #register ", found+8*" #number "(%rip)\n"
#define STORE_PRESERVED \
	STORE(rbx, 3) STORE(rsp, 4) STORE(rbp, 5) STORE(r12, 12) \
	STORE(r13, 13) STORE(r14, 14) STORE(r15, 15)

#define PASS(number) \
	"pushq given+" TEXT(PASSED_OFFSET) "+8*" #number "(%rip)\n.cfi_adjust_cfa_offset 8\n"

/* Most is written down by record() itself; here what it has to preserve. */
__asm__(".text\n"
	ENTER("call_with_registers")
	PASS(3) PASS(2) PASS(1) PASS(0)
	LOAD_ALL
	"mov %rsp, given+8*4(%rip)\n"
	"call *function(%rip)\n"
	STORE_PRESERVED
	"add $32, %rsp\n.cfi_adjust_cfa_offset -32\n"
	LEAVE("call_with_registers"));

#define FILL_RED_ZONE(number) \
	"mov given+" TEXT(RED_ZONE_OFFSET) "+8*" #number "(%rip), %rax\n" \
	"mov %rax, -128+8*" #number "(%rsp)\n"
#define READ_RED_ZONE(number) \
	"mov -128+8*" #number "(%rsp), %rax\n" \
	"mov %rax, found+" TEXT(RED_ZONE_OFFSET) "+8*" #number "(%rip)\n"
#define RED_ZONE(each) \
	each(0) each(1) each(2) each(3) each(4) each(5) each(6) each(7) \
	each(8) each(9) each(10) each(11) each(12) each(13) each(14) each(15)

/* The loop changes rcx alone, which is 0 in it, and no flag. */
__asm__(".text\n"
	ENTER("spin_with_registers")
	"pushfq\n.cfi_adjust_cfa_offset 8\n"
	"popq held_flags(%rip)\n.cfi_adjust_cfa_offset -8\n"
	"pushq given+" TEXT(FLAGS_OFFSET) "(%rip)\n.cfi_adjust_cfa_offset 8\n"
	"popfq\n.cfi_adjust_cfa_offset -8\n"
	RED_ZONE(FILL_RED_ZONE)
	LOAD_ALL
	"mov %rsp, given+8*4(%rip)\n"
	"1: mov released(%rip), %rcx\n"
	"jrcxz 1b\n"
	STORE(rax, 0) STORE(rdx, 2) STORE_PRESERVED STORE(rsi, 6) STORE(rdi, 7)
	STORE(r8, 8) STORE(r9, 9) STORE(r10, 10) STORE(r11, 11)
	RED_ZONE(READ_RED_ZONE)
	"pushfq\n.cfi_adjust_cfa_offset 8\n"
	"popq found+" TEXT(FLAGS_OFFSET) "(%rip)\n.cfi_adjust_cfa_offset -8\n"
	"pushq held_flags(%rip)\n.cfi_adjust_cfa_offset 8\n"
	"popfq\n.cfi_adjust_cfa_offset -8\n"
	"mov given+" TEXT(MASK_OFFSET) "(%rip), %rax\n"
	"xor %edx, %edx\n"
	"xsave64 found+" TEXT(EXTENDED_OFFSET) "(%rip)\n"
	LEAVE("spin_with_registers"));
/* clang-format on */

/* ------------------------------------------------------- the extended state */

#define X87  (1u << 0)
#define SSE  (1u << 1)
#define PKRU (1u << 9)
/* Not the state of AMX, which a program has to ask the kernel for. */
#define WANTED 0x2e7u

/* carry, parity, adjust, zero, sign, direction, overflow, alignment check */
#define FLAGS        0x40cd5u
#define ALWAYS_FLAGS 0x202u

static uint32_t components(void)
{
	uint32_t low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	(void)high;
	return low & WANTED;
}

static void place_of(unsigned int component, uint32_t *offset, uint32_t *size)
{
	uint32_t c, d;

	if (!__get_cpuid_count(0xd, component, size, offset, &c, &d) ||
	    *offset + *size > EXTENDED_SIZE)
		die("a component of the extended state does not fit");
}

static void put(unsigned char *at, uint64_t value, unsigned int size)
{
	memcpy(at, &value, size);
}

/* All values are such that the processor keeps every bit of them. */
static void fill(struct registers *registers, uint32_t mask)
{
	unsigned char *state = registers->extended;

	memset(registers, 0, sizeof(*registers));
	for (unsigned int i = 0; i < GENERAL; i++)
		registers->general[i] = 0x0101010101010101u * (i + 1);
	registers->general[RCX] = 0;
	registers->flags = FLAGS | ALWAYS_FLAGS;
	registers->mask = mask;
	for (unsigned int i = 0; i < PASSED; i++)
		registers->passed[i] = 0x1111111111111111u * (i + 1);
	for (unsigned int i = 0; i < 16; i++)
		registers->red_zone[i] = 0x0123456789abcdefu * (i + 3);

	put(state + 512, mask, 8);
	put(state + 0, 0x0e7f, 2);     /* double precision, towards zero */
	put(state + 2, 0x5d21, 2);     /* top of stack 3, condition codes, exceptions seen */
	put(state + 4, 0xff, 1);       /* all eight in use */
	put(state + MXCSR, 0xffa1, 4); /* flush to zero, towards zero, exceptions seen */
	for (unsigned int i = 0; i < 8; i++) {
		put(state + 32 + 16 * i, 0x8877665544332211u + i, 8);
		put(state + 40 + 16 * i, 0x4000 + i, 2);
	}
	for (unsigned int i = 0; i < 256; i++)
		state[160 + i] = (unsigned char)(i * 7 + 1);
	for (unsigned int component = 2; component < 10; component++) {
		uint32_t offset, size;

		if (!(mask & 1u << component))
			continue;
		place_of(component, &offset, &size);
		for (uint32_t i = 0; i < size; i++)
			state[offset + i] = (unsigned char)(i * 11 + component);
		/* Rights of the keys: of key 0, which all memory here has, all. */
		if (1u << component == PKRU)
			put(state + offset, 0x54545450, 8);
	}
}

static const char *extended_difference(uint32_t mask)
{
	const unsigned char *a = given.extended, *b = found.extended;

	if (mask & X87) {
		if (memcmp(a, b, 5) != 0)
			return "x87-control";
		for (unsigned int i = 0; i < 8; i++)
			if (memcmp(a + 32 + 16 * i, b + 32 + 16 * i, 10) != 0)
				return "x87-stack";
	}
	if (mask & SSE) {
		if (memcmp(a + MXCSR, b + MXCSR, 4) != 0)
			return "mxcsr";
		if (memcmp(a + 160, b + 160, 256) != 0)
			return "sse";
	}
	for (unsigned int component = 2; component < 10; component++) {
		uint32_t offset, size;

		if (!(mask & 1u << component))
			continue;
		place_of(component, &offset, &size);
		if (memcmp(a + offset, b + offset, size) != 0)
			return component == 2   ? "avx"
			       : component < 8  ? "avx512"
			       : component == 9 ? "pkru"
						: "other";
	}
	return "none";
}

static const char *difference(uint64_t stack_pointer)
{
	static char name[32];

	for (unsigned int i = 0; i < GENERAL; i++)
		if (found.general[i] != (i == RSP ? stack_pointer : given.general[i])) {
			snprintf(name, sizeof(name), "register-%u-%#lx", i, found.general[i]);
			return name;
		}
	return extended_difference((uint32_t)given.mask);
}

static uint32_t prepare(const char *mask)
{
	uint32_t chosen = (uint32_t)strtoul(mask, NULL, 0);

	if (chosen & ~components())
		die("no such component");
	fill(&given, chosen);
	memset(&found, 0, sizeof(found));
	memset(&untouched, 0, sizeof(untouched));
	found.mask = chosen;
	return chosen;
}

static void run_components(char **arguments)
{
	(void)arguments;
	answer("%u", components());
}

static void run_call(char **arguments)
{
	const char *differs;

	prepare(arguments[1]);
	recorded = &found;
	call_with_registers();
	differs = difference(given.general[RSP]);
	if (memcmp(given.passed, found.passed, sizeof(found.passed)) != 0)
		differs = "passed-on-the-stack";
	answer("%lu %s", found.version, differs);
}

static void run_spin(char **arguments)
{
	const char *differs;

	prepare(arguments[1]);
	released = 0;
	answer("%lu", (unsigned long)&released);
	spin_with_registers();
	differs = difference(given.general[RSP]);
	if (memcmp(given.red_zone, found.red_zone, sizeof(found.red_zone)) != 0)
		differs = "red-zone";
	if (given.flags != found.flags)
		differs = "flags";
	answer("%s", differs);
}

#define COPIED (1 << 20)

static void run_backwards(char **arguments)
{
	static unsigned char from[COPIED], to[COPIED];
	const char *differs = "none";

	(void)arguments;
	for (unsigned int i = 0; i < COPIED; i++)
		from[i] = (unsigned char)(i * 13 + 1);
	released = 0;
	answer("%lu", (unsigned long)&released);
	while (!__atomic_load_n(&released, __ATOMIC_RELAXED)) {
		const unsigned char *source = from + COPIED - 1;
		unsigned char *end = to + COPIED - 1;
		unsigned long count = COPIED;

		memset(to, 0, COPIED);
		/* Far the longest part of a round: the thread is nearly always here. */
		__asm__ volatile("std\n\trep movsb\n\tcld"
				 : "+S"(source), "+D"(end), "+c"(count)
				 :
				 : "memory", "cc");
		if (memcmp(from, to, COPIED) != 0)
			differs = "copy";
	}
	answer("%s", differs);
}

/* Not by the procedure linkage table: the loader, when it is asked for a symbol, changes r10. */
static long (*const volatile chained_by_pointer)(long) = chained;

static void run_chain(char **arguments)
{
	/* Volatile: the compiler does not take the static chain for a use of it. */
	volatile long value = 1000;
	long result = __builtin_call_with_static_chain(chained_by_pointer(11), (void *)&value);

	(void)arguments;
	answer("%d", result == 1011 ? 1 : result == 2022 ? 2 : 0);
}

static void run_nested(char **arguments)
{
	(void)arguments;
#ifdef __clang__
	answer("none");
#else
	long result = nested(7);

	answer("%d", result == 35 ? 1 : result == 70 ? 2 : 0);
#endif
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"components", run_components},
		{"call", run_call},
		{"spin", run_spin},
		{"backwards", run_backwards},
		{"chain", run_chain},
		{"nested", run_nested},
		{NULL, NULL},
	};

	return serve(commands);
}
