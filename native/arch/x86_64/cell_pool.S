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
	 * DW_CFA_def_cfa_expression, of 26 bytes: rsp + 8 * the word at (rip & -256) + 64 + 2 * (rip & 63).
	 * Neither dup nor deref_size: valgrind aborts where it comes upon an operation that it does not know.
	 *
	 *   77 00     breg7 0       rsp
	 *   80 00     breg16 0      rip
	 *   0b 00 ff  const2s -256
	 *   1a        and
	 *   80 00     breg16 0
	 *   08 3f     const1u 63
	 *   1a 31 24  and lit1 shl
	 *   22 23 40  plus plus_uconst 64
	 *   06        deref
	 *   0a ff ff  const2u 65535
	 *   1a        and
	 *   33 24 22  lit3 shl plus
	 */
	.cfi_escape 0x0f, 26, 0x77, 0, 0x80, 0, 0x0b, 0x00, 0xff, 0x1a, 0x80, 0, 0x08, 0x3f, 0x1a, 0x31, 0x24, \
		0x22, 0x23, 0x40, 0x06, 0x0a, 0xff, 0xff, 0x1a, 0x33, 0x24, 0x22
	/*
	 * The instruction behind the pushes may change a register that was pushed.  So what the caller has in it is,
	 * from its push on, the word on the stack (DW_CFA_val_expression; without a branch, see above):
	 * (saved - register) & -passed + register, where `passed` is 0 or 1.
	 *
	 *   80 00               breg16 0        the canonical frame address lies below it
	 *   0b 00 ff 1a         const2s -256 and
	 *   23 c8+2i 01         plus_uconst 200 + 2 * index
	 *   06 08 ff 1a         deref, const1u 255 and
	 *   33 24 1c 06         lit3 shl minus deref: saved
	 *   70+r 00 1c          breg 0 minus
	 *   30                  lit0
	 *   80 00 08 3f 1a      breg16 0, const1u 63 and
	 *   80 00 0b 00 ff 1a   breg16 0, const2s -256 and
	 *   23 c9+2i 01         plus_uconst 201 + 2 * index
	 *   06 08 ff 1a         deref, const1u 255 and
	 *   2a 1c 1a            ge: passed; minus and
	 *   70+r 00 22          breg 0 plus
	 */
	.macro	saved register, index
	.cfi_escape 0x16, \register, 45, 0x80, 0, 0x0b, 0x00, 0xff, 0x1a, \
		0x23, 0x80 | ((200 + 2 * \index) & 0x7f), 1, 0x06, 0x08, 0xff, 0x1a, \
		0x33, 0x24, 0x1c, 0x06, 0x70 + \register, 0, 0x1c, \
		0x30, 0x80, 0, 0x08, 0x3f, 0x1a, 0x80, 0, 0x0b, 0x00, 0xff, 0x1a, \
		0x23, 0x80 | ((200 + 2 * \index + 1) & 0x7f), 1, 0x06, 0x08, 0xff, 0x1a, \
		0x2a, 0x1c, 0x1a, 0x70 + \register, 0, 0x22
	.endm
	saved	3, 0	/* rbx */
	saved	6, 1	/* rbp */
	saved	12, 2
	saved	13, 3
	saved	14, 4
	saved	15, 5
	.fill	ULP_CELL_POOL_SIZE, 1, 0xcc
	.cfi_endproc
	.size	ulp_cell_pool, . - ulp_cell_pool
	.section .note.GNU-stack, "", @progbits
