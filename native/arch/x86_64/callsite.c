/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which function did the call before this return address name? And edits of saved registers. */
#include <string.h>

#include "arch.h"
#include "layout.h"
#include "runtime/image_table.h"

static int32_t displacement_at(const unsigned char *code)
{
	int32_t value;

	memcpy(&value, code, sizeof value);
	return value;
}

/*
 * Instructions can't be decoded backwards for certain: bytes of two other instructions may
 * look like one call.  So nothing is read but what lies in a readable segment of the
 * caller's own object, where its calls, its linkage table and its address table are.
 */

/* The word that a rip-relative operand names, whose displacement ends the instruction; or 0. */
static uint64_t word_behind(const struct ulp_image *image, const unsigned char *displacement)
{
	uint64_t address =
		(uint64_t)displacement + 4 + (uint64_t)(int64_t)displacement_at(displacement);
	const unsigned char *place = ulp_image_read(image, address, sizeof(uint64_t));
	uint64_t word = 0;

	if (place)
		memcpy(&word, place, sizeof word);
	return word;
}

#define LONGEST_LINKAGE_ENTRY 11

/*
 * A procedure linkage table entry is: [endbr64] [bnd] jmp *got(%rip).  The table
 * word holds the function's address by the time that the function runs.
 */
static uint64_t through_linkage_table(const struct ulp_image *image, uint64_t target)
{
	const unsigned char *code = ulp_image_read(image, target, LONGEST_LINKAGE_ENTRY);

	if (!code)
		return 0;
	if (memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0)
		code += 4;
	if (*code == 0xf2)
		code++;
	if (code[0] == 0xff && code[1] == 0x25)
		return word_behind(image, code + 2);
	return target;
}

uint64_t ulp_callsite_target(uint64_t return_address)
{
	const struct ulp_image *image;
	const unsigned char *end;
	struct ulp_image room;

	image = ulp_image_at(return_address - 1, &room);
	if (!image)
		return 0;
	end = ulp_image_read(image, return_address - 6, 6);
	if (!end)
		return 0;
	end += 6;
	if (end[-6] == 0xff && end[-5] == 0x15) /* call *got(%rip) */
		return word_behind(image, end - 4);
	if (end[-5] == 0xe8) /* call rel32 */
		return through_linkage_table(
			image, return_address + (uint64_t)(int64_t)displacement_at(end - 4));
	return 0;
}

bool ulp_callsite_before(uint64_t address)
{
	const unsigned char *end = (const unsigned char *)address;

	if (end[-5] == 0xe8)
		return true;
	for (int size = 2; size <= ULP_LONGEST_CALL; size++)
		if (end[-size] == 0xff && (end[1 - size] & 0x38) == 0x10)
			return true;
	return false;
}

#define SYSCALL_INSTRUCTION_SIZE 2
#define EINTR_FROM_KERNEL        (-4)

void ulp_registers_fail_with_eintr(uint64_t registers[ULP_REGISTERS])
{
	registers[REG_RIP / 8] += SYSCALL_INSTRUCTION_SIZE;
	registers[REG_RAX / 8] = (uint64_t)(int64_t)EINTR_FROM_KERNEL;
}

uint64_t ulp_registers_instruction(const uint64_t registers[ULP_REGISTERS])
{
	return registers[REG_RIP / 8];
}

uint64_t ulp_registers_stack_pointer(const uint64_t registers[ULP_REGISTERS])
{
	return registers[REG_RSP / 8];
}

uint64_t ulp_registers_system_call(const uint64_t registers[ULP_REGISTERS])
{
	return registers[REG_ORIG_RAX / 8];
}
