/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every register that can carry something into a function comes through the entry
 * check, the slow path and a detour as it was.
 */
#include <string.h>

#include "harness.h"
#include "target.h"

uint64_t call_with_registers(void (*function)(void));

static const void *const functions[] = {record, answer, twice, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static void check_one(void)
{
	uint64_t stack_pointer;
	const struct recorded *seen = recorded();

	memset((void *)seen, 0, sizeof *seen);
	stack_pointer = call_with_registers(record);
	for (unsigned i = 0; i < 9; i++)
		CHECK(seen->general[i] == 0x0101010101010101u * (i + 1));
	CHECK(seen->general[9] == stack_pointer);
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 4; k++)
			CHECK(seen->vector[i][k] == 0x0101010101010101u * (i + 0x40));
}

int main(void)
{
	uint64_t slow;

	check_one();
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	slow = STATE->domains[0].slow_entries;
	check_one();
	/* It was the slow path. */
	CHECK(STATE->domains[0].slow_entries == slow + 1);
	check_one();
	/* And this time it was not. */
	CHECK(STATE->domains[0].slow_entries == slow + 1);
	revert(1);
	check_one();
	CHECK(STATE->domains[0].slow_entries == slow + 2);
	return 0;
}
