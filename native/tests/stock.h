/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A library without padding, stock.S, and where its functions can be hooked. */
#ifndef STOCK_H
#define STOCK_H

#include "harness.h"

int stock_plain(int x);
int stock_relative(int x);
int stock_jump(int x);
int stock_frame(int x);
int stock_pushes(void (*callback)(void *), void *argument, int x);
int stock_saved(void (*callback)(void *), void *argument, int x);
int stock_endbr(int x);
int stock_wide(int x);
int stock_short(int x);
int stock_outer(void (*callback)(void *), void *argument, int x);

/* Calls it with known values in the registers that it must keep. */
int stock_with_registers(int (*function)(void (*callback)(void *), void *argument, int x),
			 void (*callback)(void *), void *argument, int x);

static const struct stock_site stock_sites[] = {
	{stock_plain, .length = 5, .before = 8, .after = 8},
	{stock_relative, .length = 7, .instruction = ULP_PUN_RELATIVE, .displacement = 3,
	 .before = 8, .after = 8},
	{stock_jump, .length = 2, .instruction = ULP_PUN_JUMP, .displacement = 1, .before = 8,
	 .after = 8},
	{stock_frame, .length = 4, .before = 8, .after = 0x40},
	{stock_pushes, .offset = 3, .length = 5, .before = 0x18, .after = 0x18},
	{stock_saved, .offset = 3, .length = 5, .before = 0x18, .after = 0x18},
	{stock_endbr, .offset = 4, .length = 5, .before = 8, .after = 8},
	{stock_outer, .offset = 1, .length = 5, .before = 0x10, .after = 0x10},
	{stock_wide, .length = 5, .before = 8, .after = 8},
	{stock_wide, .length = 5, .before = 8, .after = 8, .code = {0xe9, 0, 0, 0, 0xc5},
	 .written = 5},
	{stock_short, .length = 2, .before = 8, .after = 8, .code = {0xeb, 6, 0xe9, 0, 0, 0, 0xc6},
	 .written = 2, .gap = 8},
	{NULL, .offset = 0},
};

/* Those with a pun that changes one byte, and what replaces most of them. */
static const void *const stock_functions[] = {
	stock_plain,  stock_relative, stock_jump,  stock_frame,
	stock_pushes, stock_endbr,    stock_outer, NULL};
static const struct pair stock_pairs[] = {
	{stock_plain, "new_answer"},
	{stock_relative, "new_answer"},
	{stock_jump, "new_answer"},
	{stock_frame, "new_answer"},
	{stock_endbr, "new_answer"},
	{stock_pushes, "new_after"},
	{NULL, NULL},
};

#endif
