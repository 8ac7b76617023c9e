/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdint.h>

/* The offsets that the assembly uses. */
#define GENERAL_OFFSET  0
#define FLAGS_OFFSET    128
#define VERSION_OFFSET  136
#define MASK_OFFSET     144
#define PASSED_OFFSET   152
#define RED_ZONE_OFFSET 192
#define EXTENDED_OFFSET 320
#define EXTENDED_SIZE   4096

#define STRINGIZE(number) #number
#define TEXT(number)      STRINGIZE(number)

/* rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15: by their numbers */
#define GENERAL 16
#define RAX     0
#define RCX     1
#define RDX     2
#define RBX     3
#define RSP     4
#define RBP     5

#define PASSED 4

struct registers {
	uint64_t general[GENERAL];
	uint64_t flags;
	uint64_t version;        /* of the function that wrote it down */
	uint64_t mask;           /* which of the extended state: bits of XCR0 */
	uint64_t passed[PASSED]; /* above the return address */
	uint64_t alignment;      /* of what follows */
	uint64_t red_zone[16];   /* below the stack pointer */
	unsigned char extended[EXTENDED_SIZE] __attribute__((aligned(64))); /* as xsave has it */
};

/* Where record() writes down what it was entered with. */
extern struct registers *recorded;

/* Follows no calling convention but for what it preserves. */
void record(void);

/* Reads its static chain, r10: what that points to, plus the argument; new code: twice that. */
long chained(long argument);

/* Calls a function that is nested in it: 5 times the argument; new code: 10 times. */
long nested(long argument);

#endif
