/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Room for the stubs that lead from a hooked function to the version that the
 * calling thread is to use.  It lies in the runtime's own text for two reasons:
 * no memory has to be made executable in a process that may be forbidden to do
 * so, and one frame description covers every stub.  No stub ever moves the stack
 * pointer, so what holds at a function's first instruction (CFA = rsp + 8, return
 * address at CFA - 8) holds at each instruction of the pool.
 *
 * The pages are shared with the file, and cost no memory, until they are written.
 */
#include <cet.h>

#include "machine.h"

	.section ulp_entering, "ax", @progbits
	.balign 4096
	.globl	ulp_stub_pool
	.hidden	ulp_stub_pool
	.type	ulp_stub_pool, @function
ulp_stub_pool:
	.cfi_startproc
	.fill	ULP_STUB_POOL_SIZE, 1, 0xcc
	.cfi_endproc
	.size	ulp_stub_pool, . - ulp_stub_pool
	.section .note.GNU-stack, "", @progbits
