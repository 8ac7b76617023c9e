/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include <ulp/abi.h>

#include "runtime/function.h"

/* Only the worker, of which there is one at a time, adds to this list; nothing leaves it. */
struct block {
	struct block *next;
	struct ulp_function *functions;
	uint32_t count;
};

static struct block *blocks;

bool ulp_function_endbr(const struct ulp_function *function)
{
	return function->flags & ULP_SITE_ENDBR;
}

struct ulp_function *ulp_function_find(uint64_t address)
{
	for (const struct block *block = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE); block;
	     block = block->next) {
		uint32_t low = 0, high = block->count;

		while (low < high) {
			uint32_t middle = low + (high - low) / 2;

			if (block->functions[middle].address == address)
				return &block->functions[middle];
			if (block->functions[middle].address < address)
				low = middle + 1;
			else
				high = middle;
		}
	}
	return NULL;
}

bool ulp_function_entry(uint64_t address)
{
	const struct ulp_function *function = ulp_function_find(address);

	if (function)
		return function->hooked & ULP_SITE_ENTRY;
	function = ulp_function_find(address + ULP_PAD_BEFORE);
	return function && function->hooked & ULP_SITE_TRAMPOLINE;
}

struct ulp_function *ulp_function_reserve(uint32_t count)
{
	return calloc(count, sizeof(struct ulp_function));
}

bool ulp_function_publish(struct ulp_function *functions, uint32_t count)
{
	struct block *block = malloc(sizeof *block);

	if (!block)
		return false;
	block->next = blocks;
	block->functions = functions;
	block->count = count;
	__atomic_store_n(&blocks, block, __ATOMIC_RELEASE);
	return true;
}

void ulp_function_each(bool (*visit)(struct ulp_function *function, void *argument), void *argument)
{
	for (const struct block *block = blocks; block; block = block->next)
		for (uint32_t i = 0; i < block->count; i++)
			if (!visit(&block->functions[i], argument))
				return;
}
