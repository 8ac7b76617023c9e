/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions of registers.h for VERSION; NAME gives each its name. */
#include "registers.h"
#include "../shapes.h"

#include <stddef.h>

_Static_assert(offsetof(struct registers, flags) == FLAGS_OFFSET, "flags");
_Static_assert(offsetof(struct registers, version) == VERSION_OFFSET, "version");
_Static_assert(offsetof(struct registers, mask) == MASK_OFFSET, "mask");
_Static_assert(offsetof(struct registers, passed) == PASSED_OFFSET, "passed");
_Static_assert(offsetof(struct registers, red_zone) == RED_ZONE_OFFSET, "red_zone");
_Static_assert(offsetof(struct registers, extended) == EXTENDED_OFFSET, "extended");

/* clang-format off */
#define STORE(register, number) "mov %" #register ", 8*" #number "(%rax)\n"
#define STORE_PASSED(number) \
	"mov 8+8*" #number "(%rsp), %rcx\n" \
	"mov %rcx, " TEXT(PASSED_OFFSET) "+8*" #number "(%rax)\n"

EXPORTED __attribute__((naked)) OPAQUE void NAME(record)(void)
{
	__asm__("mov %rax, -8(%rsp)\n"
		"mov recorded@GOTPCREL(%rip), %rax\n"
		"mov (%rax), %rax\n"
		STORE(rcx, 1) STORE(rdx, 2) STORE(rbx, 3) STORE(rsp, 4)
		STORE(rbp, 5) STORE(rsi, 6) STORE(rdi, 7) STORE(r8, 8)
		STORE(r9, 9) STORE(r10, 10) STORE(r11, 11) STORE(r12, 12)
		STORE(r13, 13) STORE(r14, 14) STORE(r15, 15)
		"mov -8(%rsp), %rcx\n"
		STORE(rcx, 0)
		"pushfq\n"
		"popq " TEXT(FLAGS_OFFSET) "(%rax)\n"
		"movq $" TEXT(VERSION) ", " TEXT(VERSION_OFFSET) "(%rax)\n"
		STORE_PASSED(0) STORE_PASSED(1) STORE_PASSED(2) STORE_PASSED(3)
		"mov %rax, %rcx\n"
		"mov " TEXT(MASK_OFFSET) "(%rcx), %rax\n"
		"xor %edx, %edx\n"
		"xsave64 " TEXT(EXTENDED_OFFSET) "(%rcx)\n"
		"ret\n");
}

/* The argument is in rdi. */
EXPORTED __attribute__((naked)) OPAQUE long NAME(chained)(long argument __attribute__((unused)))
{
	__asm__("mov (%r10), %rax\n"
		"add %rdi, %rax\n"
		"imul $" TEXT(VERSION) ", %rax\n"
		"ret\n");
}
/* clang-format on */

#ifndef __clang__
EXPORTED OPAQUE long NAME(nested)(long argument)
{
	long factor = argument;

	/* Takes the address of factor in r10. */
	OPAQUE long inner(long times)
	{
		return VERSION * times * factor;
	}

	return inner(2) + inner(3);
}
#endif
