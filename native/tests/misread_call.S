/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * int misread_near_call(int (*function)(int), int argument);
 * int misread_far_call(int (*function)(int), int argument);
 * Calls through a register; with the bytes of the instructions before, they look like a call with
 * a displacement of four bytes, which leads to where nothing is mapped.
 */
	.macro misread name, byte:vararg
	.text
	.globl	\name
	.type	\name, @function
\name:
	.cfi_startproc
	push	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	mov	%rdi, %rbx
	mov	%esi, %edi
	.byte	\byte
	xor	%eax, %eax
	call	*%rbx
	pop	%rbx
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	\name, . - \name
	.endm

	misread misread_near_call, 0xb0, 0xe8			/* mov $0xe8, %al */
	misread misread_far_call, 0xb8, 0, 0, 0xff, 0x15	/* mov $0x15ff0000, %eax */
	.section .note.GNU-stack, "", @progbits
