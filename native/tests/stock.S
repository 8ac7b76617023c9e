/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Functions without padding.  Each begins with instructions of its own kind; the four bytes behind the
 * first byte of the one that is hooked are a displacement of about -1 GiB, where nothing is.
 */
#include <cet.h>

	.text
	.balign	4096
value:
	.long	7
	.skip	0x3f00

.macro function name
	.balign 16
	.globl	\name
	.type	\name, @function
\name:
	.cfi_startproc
.endm

.macro end name
	.cfi_endproc
	.size	\name, . - \name
.endm

	/* int stock_plain(int x): x + 1 */
	function stock_plain
	mov	$0xc0000001, %eax
	lea	1(%rdi), %eax
	ret
	end stock_plain

	/* int stock_relative(int x): x + value; the operand moves with the instruction, which lies 0x3fxx behind */
	function stock_relative
	lea	value(%rip), %rax
	mov	(%rax), %eax
	add	%edi, %eax
	ret
	end stock_relative

	/* int stock_jump(int x): x + 2 */
	function stock_jump
	.byte	0xeb, 3, 0, 0, 0xc1
	lea	2(%rdi), %eax
	ret
	end stock_jump

	/* int stock_frame(int x): x + 3 */
	function stock_frame
	sub	$0x38, %rsp
	.cfi_adjust_cfa_offset 0x38
	movl	$3, (%rsp)
	mov	(%rsp), %eax
	add	%edi, %eax
	add	$0x38, %rsp
	.cfi_adjust_cfa_offset -0x38
	ret
	end stock_frame

	/* int stock_pushes(void (*callback)(void *), void *argument, int x): calls back; x + 4 */
	function stock_pushes
	push	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	push	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	mov	$0xc2000001, %eax
	mov	%edx, %ebx
	sub	$8, %rsp
	.cfi_adjust_cfa_offset 8
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
	lea	4(%rbx), %eax
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	pop	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	pop	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	end stock_pushes

	/* int stock_endbr(int x): x + 5 */
	function stock_endbr
	endbr64
	mov	$0xc3000001, %eax
	lea	5(%rdi), %eax
	ret
	end stock_endbr

	/* int stock_wide(int x): x + 6; a jump over its first byte alone would lead into the library itself */
	function stock_wide
	mov	$1, %eax
	lea	6(%rdi), %eax
	ret
	end stock_wide

	/* int stock_short(int x): x + 7; two bytes of its first instruction lead to the gap behind it */
	function stock_short
	xor	%eax, %eax
	lea	7(%rdi), %eax
	ret
	end stock_short
	.skip	10, 0x90

	/* int stock_outer(void (*callback)(void *), void *argument, int x): calls back; stock_plain(x) */
	function stock_outer
	push	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	mov	$0xc4000001, %eax
	mov	%edx, %ebx
	mov	%rdi, %rax
	mov	%rsi, %rdi
	call	*%rax
	mov	%ebx, %edi
	call	stock_plain
	pop	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	end stock_outer

	.section .note.GNU-stack, "", @progbits
