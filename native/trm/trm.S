/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * trm.o, linked into a library that wants its entries tracked: the library's own
 * universe slot in thread-local storage, and a note that leads to it.  The slot
 * is of the initial-exec kind (a fixed distance from the thread pointer), because
 * the entry check is one instruction without a call.
 *
 * Everything is local, so that two libraries with trm.o never share a slot and no
 * symbol is added to the library's interface.  The note is found by its name; the
 * descriptor by its distance from the note, whatever the linker does in between.
 */
#include <ulp/abi.h>

	.section .tbss.ulp_universe, "awT", @nobits
	.balign 8
universe:
	.zero	8

	/* struct ulp_trm; the loader fills in the offset (R_X86_64_TPOFF64) */
	.section .data.rel.ro.ulp_trm, "aw", @progbits
	.balign 8
descriptor:
	.quad	1
	.quad	universe@tpoff

	.section .note.ulp, "aR", @note
	.balign 4
	.long	4				/* name size */
	.long	8				/* descriptor size */
	.long	ULP_NOTE_TRM
	.string	"ulp"
	.long	1				/* version */
	.long	descriptor - .
	.section .note.GNU-stack, "", @progbits
