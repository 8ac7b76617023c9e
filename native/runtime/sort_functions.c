/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "runtime/image.h"
#include "runtime/sort_functions.h"
#include "runtime/stack.h"
#include "runtime/system_code.h"

/* What qsort calls between itself and the comparison function. */
#define SORT_FUNCTIONS 8
static uint64_t sort_functions[SORT_FUNCTIONS];
static unsigned sort_function_count;

static bool known_to_sort(uint64_t function)
{
	for (unsigned i = 0; i < sort_function_count; i++)
		if (sort_functions[i] == function)
			return true;
	return false;
}

static bool note_sort_function(const struct ulp_frame *frame, void *argument)
{
	bool *in_library = argument;

	if (ulp_system_code_in_c_library(frame->instruction)) {
		*in_library = true;
		if (!known_to_sort(frame->function) && sort_function_count < SORT_FUNCTIONS)
			sort_functions[sort_function_count++] = frame->function;
		return true;
	}
	return !*in_library;
}

static int compare_while_learning(const void *a, const void *b)
{
	bool in_library = false;

	ulp_stack_walk(note_sort_function, &in_library);
	return *(const char *)a - *(const char *)b;
}

/*
 * A comparison function may run for long under qsort, which holds no lock then. The
 * names of its inner functions are not public, so they are learnt by being called.
 * Three elements sort in place: nothing is allocated.
 */
static void learn_sort_functions(void)
{
	char elements[] = {'c', 'a', 'b'};
	int (*compare)(const void *, const void *) = compare_while_learning;
	void (*sort)(void *, size_t, size_t, int (*)(const void *, const void *)) =
		(void (*)(void *, size_t, size_t, int (*)(const void *, const void *)))
			ulp_image_function(ulp_system_code_c_library(), "qsort");
	void *(*search)(const void *, const void *, size_t, size_t,
			int (*)(const void *, const void *)) =
		(void *(*)(const void *, const void *, size_t, size_t,
			   int (*)(const void *, const void *)))
			ulp_image_function(ulp_system_code_c_library(), "bsearch");

	if (sort)
		sort(elements, sizeof elements, 1, compare);
	if (search)
		search("b", elements, sizeof elements, 1, compare);
}

bool ulp_sorts(uint64_t function)
{
	static bool learned;

	if (!learned) {
		learned = true;
		learn_sort_functions();
	}
	return known_to_sort(function);
}
