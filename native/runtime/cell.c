/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arch.h"
#include "runtime/cell.h"

#define CELLS (ULP_CELL_POOL_SIZE / ULP_CELL_SIZE)

static uint64_t slots[CELLS];

/* Given back, by number; behind `touched` none was used yet. */
static uint32_t free_cells[CELLS];
static uint32_t free_count;
static uint32_t touched;

bool ulp_cells_left(uint64_t count)
{
	return count <= CELLS - touched + free_count;
}

uint64_t ulp_cell_take(uint64_t **slot)
{
	uint32_t number;

	if (!ulp_cells_left(1))
		return 0;
	number = free_count ? free_cells[--free_count] : touched++;
	*slot = &slots[number];
	return (uint64_t)ulp_cell_pool + (uint64_t)number * ULP_CELL_SIZE;
}

void ulp_cell_discard(uint64_t cell)
{
	free_cells[free_count++] = (uint32_t)((cell - (uint64_t)ulp_cell_pool) / ULP_CELL_SIZE);
}
