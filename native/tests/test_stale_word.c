/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that kept its number has no address of the way that it came by left right below
 * its frame: a function that it calls next may let the word stand, and to the core the thread
 * would be on its way in for as long as that function blocks.
 */
#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, tail_of, NULL};
static const struct pair pairs[] = {{tail_of, "new_tail_of"}, {NULL, NULL}};

/* Calls a function that leaves the stack alone; the word below the return address afterwards. */
static uint64_t word_below(int (*function)(int), int argument, int *result)
{
	uint64_t word;

	__asm__ volatile("call *%2\n\t"
			 "mov -16(%%rsp), %0"
			 : "=&r"(word), "=a"(*result)
			 : "r"(function), "D"(argument)
			 : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return word;
}

int main(void)
{
	int (*volatile pointer)(int) = tail_of;
	uint64_t word;
	int result;

	/* Code of the library may jump to it, so an entry through a pointer proves nothing. */
	tail = tail_of;
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	word = word_below(pointer, 1, &result);
	CHECK(result == 6);
	CHECK(STATE->domains[0].unprovable == 1);
	CHECK(word < STATE->text_start || word >= STATE->text_end);
	return 0;
}
