/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * trm.o, linked into a library that wants its entries tracked: the library's own
 * universe slot in thread-local storage, and a note that leads to it.  The slot
 * is of the initial-exec kind (a fixed distance from the thread pointer), because
 * the entry check is one instruction without a call.
 *
 * Everything is local, so that two libraries with trm.o never share a slot and no
 * symbol is added to the library's interface.  The note is found by its name; it
 * leads to the descriptor, and that to the function, by distances that the linker
 * settles: nothing is left for the loader but the slot itself.
 *
 * The library stays what it is to the linker: fit for indirect branch tracking and for shadow
 * stacks, which <cet.h> notes as the compiler would.
 */
#include <cet.h>

#include <ulp/abi.h>

	.section .tbss.ulp_universe, "awT", @nobits
	.balign 8
universe:
	.zero	8

	/* Only the loader knows the distance; it puts it into the offset table. */
	.section .text.ulp_trm, "ax", @progbits
	.type	locate, @function
locate:
	.cfi_startproc
	_CET_ENDBR
	mov	universe@gottpoff(%rip), %rax
	ret
	.cfi_endproc
	.size	locate, . - locate

	/* struct ulp_trm */
	.section .rodata.ulp_trm, "a", @progbits
	.balign 8
descriptor:
	.quad	1
	.quad	locate - .

	.section .note.ulp, "aR", @note
	.balign 4
	.long	4				/* name size */
	.long	8				/* descriptor size */
	.long	ULP_NOTE_TRM
	.string	"ulp"
	.long	1				/* version */
	.long	descriptor - .
	.section .note.GNU-stack, "", @progbits
