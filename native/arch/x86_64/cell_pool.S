/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Room for the cells of functions without padding (ulp/abi.h draws one).  As with stubs it lies in
 * the runtime's own text, so that one frame description, found like any other, covers all of them.
 *
 * What a cell does to the stack pointer depends on the function.  So the canonical frame address is
 * an expression over the instruction pointer: a cell is aligned to its size, and has a table that
 * says for each of its instructions how far above the stack pointer that address is.
 */
#include <cet.h>

#include "machine.h"

	.section ulp_entering, "ax", @progbits
	.balign 4096
	.globl	ulp_cell_pool
	.hidden	ulp_cell_pool
	.type	ulp_cell_pool, @function
ulp_cell_pool:
	.cfi_startproc
	/*
	 * DW_CFA_def_cfa_expression, of 23 bytes: rsp + 8 * the word at (rip & -256) + 64 + 2 * (rip & 63)
	 *
	 *   77 00     breg7 0       rsp
	 *   80 00     breg16 0      rip
	 *   12        dup
	 *   08 3f     const1u 63
	 *   1a 31 24  and lit1 shl
	 *   16        swap
	 *   0b 00 ff  const2s -256
	 *   1a 22     and plus
	 *   23 40     plus_uconst 64
	 *   94 02     deref_size 2
	 *   33 24 22  lit3 shl plus
	 */
	.cfi_escape 0x0f, 23, 0x77, 0, 0x80, 0, 0x12, 0x08, 0x3f, 0x1a, 0x31, 0x24, 0x16, \
		0x0b, 0x00, 0xff, 0x1a, 0x22, 0x23, 0x40, 0x94, 2, 0x33, 0x24, 0x22
	.fill	ULP_CELL_POOL_SIZE, 1, 0xcc
	.cfi_endproc
	.size	ulp_cell_pool, . - ulp_cell_pool
	.section .note.GNU-stack, "", @progbits
