/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the compiler calls by itself, and what everybody calls without thinking, as copies of our
 * own: hidden, so that neither the program nor a livepatch for the C library is in the way.
 *
 * Compiled so that no loop in here is taken for the function that it makes up.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "arch.h"
#include "runtime/freestanding.h"

/* Neither address need be aligned. */
static inline void copy_word(void *to, const void *from)
{
	typedef uint64_t __attribute__((aligned(1), may_alias)) word;

	*(word *)to = *(const word *)from;
}

/* An instruction that copies takes long to begin. */
#define SHORT 512

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	unsigned char *target = to;
	const unsigned char *source = from;

	if (size > SHORT) {
		ulp_copy_long(target, source, size);
		return to;
	}
	for (; size >= 8; size -= 8, target += 8, source += 8)
		copy_word(target, source);
	while (size--)
		*target++ = *source++;
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *target = to;
	const unsigned char *source = from;

	if ((uintptr_t)target - (uintptr_t)source >= size)
		return memcpy(to, from, size);
	while (size--)
		target[size] = source[size];
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	const uint64_t word = (unsigned char)byte * 0x0101010101010101ull;
	unsigned char *target = to;

	if (size > SHORT) {
		ulp_fill_long(target, byte, size);
		return to;
	}
	for (; size >= 8; size -= 8, target += 8)
		copy_word(target, &word);
	while (size--)
		*target++ = (unsigned char)byte;
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < size; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

void *memchr(const void *memory, int byte, size_t size)
{
	const unsigned char *at = memory;

	for (size_t i = 0; i < size; i++)
		if (at[i] == (unsigned char)byte)
			return (void *)(at + i);
	return NULL;
}

size_t strlen(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

/* A word on the runtime's stack was overwritten: going on could do any harm. */
void __stack_chk_fail(void)
{
	__builtin_trap();
}
