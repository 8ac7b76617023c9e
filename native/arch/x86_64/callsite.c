/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which function did the call before this return address name? And edits of saved registers. */
#include <string.h>

#include "arch/x86_64/arch.h"
#include "arch/x86_64/layout.h"

static int32_t displacement_at(const unsigned char *code)
{
	int32_t value;

	memcpy(&value, code, sizeof value);
	return value;
}

/* The word that a rip-relative operand names, whose displacement ends the instruction. */
static uint64_t word_behind(const unsigned char *displacement)
{
	uint64_t word;

	memcpy(&word, displacement + 4 + displacement_at(displacement), sizeof word);
	return word;
}

/*
 * A procedure linkage table entry is: [endbr64] [bnd] jmp *got(%rip).  The table
 * word holds the function's address by the time that the function runs.
 */
static uint64_t through_linkage_table(uint64_t target)
{
	const unsigned char *code = (const unsigned char *)target;

	if (memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0)
		code += 4;
	if (*code == 0xf2)
		code++;
	if (code[0] == 0xff && code[1] == 0x25)
		return word_behind(code + 2);
	return target;
}

uint64_t ulp_callsite_target(uint64_t return_address)
{
	const unsigned char *end = (const unsigned char *)return_address;

	/* The page before may not be there: a shorter call can stand at a segment's start. */
	if ((return_address & 4095) < 6)
		return 0;
	if (end[-6] == 0xff && end[-5] == 0x15) /* call *got(%rip) */
		return word_behind(end - 4);
	if (end[-5] == 0xe8) /* call rel32 */
		return through_linkage_table(return_address +
					     (uint64_t)(int64_t)displacement_at(end - 4));
	return 0;
}

#define SYSCALL_INSTRUCTION_SIZE 2
#define EINTR_FROM_KERNEL        (-4)

void ulp_registers_fail_with_eintr(uint64_t registers[27])
{
	registers[REG_RIP / 8] += SYSCALL_INSTRUCTION_SIZE;
	registers[REG_RAX / 8] = (uint64_t)(int64_t)EINTR_FROM_KERNEL;
}

uint64_t ulp_registers_system_call(const uint64_t registers[27])
{
	return registers[REG_ORIG_RAX / 8];
}
