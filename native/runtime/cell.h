/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cells in the pool, each with the word that its way to the newest stub goes through. */
#ifndef ULP_CELL_H
#define ULP_CELL_H

#include <stdbool.h>
#include <stdint.h>

bool ulp_cells_left(uint64_t count);

/* The address of a cell that nobody uses, and of its slot; 0: there is none. */
uint64_t ulp_cell_take(uint64_t **slot);

/* Gives back a cell to which nothing has led yet. */
void ulp_cell_discard(uint64_t cell);

#endif
