/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which function did the call before this return address name? And edits of saved registers. */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#include "arch/x86_64/arch.h"
#include "arch/x86_64/layout.h"

#define PAGE 4096

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
struct object {
	uint64_t base;
	const Elf64_Phdr *segments;
	unsigned count;
};

static bool find_object(uint64_t address, struct object *object)
{
	struct dl_find_object found;
	const Elf64_Ehdr *header;

	if (_dl_find_object((void *)address, &found) != 0)
		return false;
	header = found.dlfo_map_start;
	object->base = found.dlfo_link_map->l_addr;
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
	    header->e_phentsize != sizeof(Elf64_Phdr))
		return false;
	object->segments = (const Elf64_Phdr *)((const char *)header + header->e_phoff);
	object->count = header->e_phnum;
	return (const char *)(object->segments + object->count) <= (const char *)header + PAGE;
}

static const unsigned char *readable(const struct object *object, uint64_t address, uint64_t size)
{
	for (unsigned i = 0; i < object->count; i++) {
		const Elf64_Phdr *segment = &object->segments[i];
		uint64_t start = object->base + segment->p_vaddr;

		if (segment->p_type == PT_LOAD && segment->p_flags & PF_R && address >= start &&
		    address - start <= segment->p_memsz &&
		    segment->p_memsz - (address - start) >= size)
			return (const unsigned char *)address;
	}
	return NULL;
}

/* The word that a rip-relative operand names, whose displacement ends the instruction; or 0. */
static uint64_t word_behind(const struct object *object, const unsigned char *displacement)
{
	uint64_t address =
		(uint64_t)displacement + 4 + (uint64_t)(int64_t)displacement_at(displacement);
	const unsigned char *place = readable(object, address, sizeof(uint64_t));
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
static uint64_t through_linkage_table(const struct object *object, uint64_t target)
{
	const unsigned char *code = readable(object, target, LONGEST_LINKAGE_ENTRY);

	if (!code)
		return 0;
	if (memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0)
		code += 4;
	if (*code == 0xf2)
		code++;
	if (code[0] == 0xff && code[1] == 0x25)
		return word_behind(object, code + 2);
	return target;
}

uint64_t ulp_callsite_target(uint64_t return_address)
{
	const unsigned char *end;
	struct object object;

	if (!find_object(return_address, &object))
		return 0;
	end = readable(&object, return_address - 6, 6);
	if (!end)
		return 0;
	end += 6;
	if (end[-6] == 0xff && end[-5] == 0x15) /* call *got(%rip) */
		return word_behind(&object, end - 4);
	if (end[-5] == 0xe8) /* call rel32 */
		return through_linkage_table(
			&object, return_address + (uint64_t)(int64_t)displacement_at(end - 4));
	return 0;
}

/* ff /2 takes 2 to 7 bytes, by its addressing form. */
#define LONGEST_CALL 7

bool ulp_callsite_before(uint64_t address)
{
	const unsigned char *end = (const unsigned char *)address;

	if (end[-5] == 0xe8)
		return true;
	for (int size = 2; size <= LONGEST_CALL; size++)
		if (end[-size] == 0xff && (end[1 - size] & 0x38) == 0x10)
			return true;
	return false;
}

#define SYSCALL_INSTRUCTION_SIZE 2
#define EINTR_FROM_KERNEL        (-4)

void ulp_registers_fail_with_eintr(uint64_t registers[27])
{
	registers[REG_RIP / 8] += SYSCALL_INSTRUCTION_SIZE;
	registers[REG_RAX / 8] = (uint64_t)(int64_t)EINTR_FROM_KERNEL;
}

uint64_t ulp_registers_instruction(const uint64_t registers[27])
{
	return registers[REG_RIP / 8];
}

uint64_t ulp_registers_stack_pointer(const uint64_t registers[27])
{
	return registers[REG_RSP / 8];
}

uint64_t ulp_registers_system_call(const uint64_t registers[27])
{
	return registers[REG_ORIG_RAX / 8];
}
