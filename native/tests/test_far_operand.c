/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A cell does what the function does, wherever the operand of its first instruction lies: near, or more than 2 GiB
 * away, as for a program at 0x400000.  Registers, flags and memory are compared.  Seen to find no cell for the far ones.
 */
#include <cpuid.h>
#include <string.h>
#include <sys/mman.h>

#include "arch.h"
#include "check.h"

struct far_function {
	uint64_t address, length, displacement, number;
};

enum {
	OF_AVX = 64,
	PUSHES = 16
};

extern const struct far_function far_functions[];
extern uint64_t far_value[2];
void far_call(uint64_t function, uint64_t registers[8]);

struct outcome {
	uint64_t registers[8];
	uint64_t value[2];
};

static struct outcome call(uint64_t function)
{
	static const uint64_t initial[2] = {0x1122334455667788, 0x99aabbccddeeff00};
	/* rax, rcx, rdx, rsi, rdi, flags, xmm0, xmm6 */
	struct outcome outcome = {.registers = {0x1122334455667788, 2, 3, 0xa4a5a6a7a8a9aaab, 5,
						0x202, 0x3ff0000000000000, 0x4000000000000000}};

	memcpy(far_value, initial, sizeof initial);
	far_call(function, outcome.registers);
	memcpy(outcome.value, far_value, sizeof outcome.value);
	return outcome;
}

static bool has_avx_and_bmi(void)
{
	unsigned a, b, c, d;

	return __builtin_cpu_supports("avx") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & 8;
}

/* Each instruction has its place in the table of frames, and nothing else has. */
static void frames_are_noted(const unsigned char *cell, bool pushes, bool far)
{
	uint16_t frames[64];
	unsigned count = 0;

	memcpy(frames, cell + ULP_CELL_FRAMES, sizeof frames);
	for (unsigned i = ULP_CELL_OLD; i < 64; i++) {
		CHECK(frames[i] == 0 || frames[i] == 1 || (pushes && frames[i] == 2));
		count += frames[i] != 0;
	}
	CHECK(count == (far ? 5 : 2));
}

static void same_in_cell(const struct far_function *function, unsigned char *cell, bool far)
{
	bool pushes = function->number == PUSHES;
	struct ulp_code_pun pun = {
		.function = function->address,
		.site = function->address,
		.length = (unsigned)function->length,
		.instruction = ULP_PUN_RELATIVE,
		.displacement = (unsigned)function->displacement,
		.frame_before = 8,
		.frame_after = pushes ? 16 : 8,
	};
	struct outcome expected = call(function->address), found;

	CHECK(ulp_code_cell(&pun, (uint64_t)cell, (uint64_t)cell, cell));
	frames_are_noted(cell, pushes, far);
	found = call((uint64_t)cell + ULP_CELL_OLD);
	if (memcmp(&found, &expected, sizeof found) != 0)
		fprintf(stderr, "function %llu, %s\n", (unsigned long long)function->number,
			far ? "far" : "near");
	CHECK(memcmp(&found, &expected, sizeof found) == 0);
}

static unsigned char *map(uint64_t address)
{
	void *memory = mmap((void *)address, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(memory == (void *)address);
	return memory;
}

/* What does not come back to what restores the register. */
static void a_jump_is_refused(unsigned char *far)
{
	static const unsigned char jump[] = {0xff, 0x25, 0, 0, 0, 0};
	struct ulp_code_pun pun = {.function = (uint64_t)jump,
				   .site = (uint64_t)jump,
				   .length = sizeof jump,
				   .instruction = ULP_PUN_RELATIVE,
				   .displacement = 2,
				   .frame_before = 8,
				   .frame_after = 8};

	CHECK(!ulp_code_cell(&pun, (uint64_t)far, (uint64_t)far, far));
	/* Nor is anything read where a request lies about the displacement. */
	pun.displacement = 0;
	CHECK(!ulp_code_cell(&pun, (uint64_t)far, (uint64_t)far, far));
}

int main(void)
{
	uint64_t here = (uint64_t)far_functions[0].address & ~4095ull;
	unsigned char *near = map(here - (1ull << 30)), *far = map(here - (1ull << 40));

	for (const struct far_function *function = far_functions; function->address; function++) {
		if (function->number >= OF_AVX && !has_avx_and_bmi())
			continue;
		same_in_cell(function, near, false);
		same_in_cell(function, far, true);
	}
	a_jump_is_refused(far);
	return 0;
}
