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

	/* int stock_saved(void (*callback)(void *), void *argument, int x): the same, and the site changes rbx; x + 8 */
	function stock_saved
	push	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	push	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	mov	$0xc5000001, %ebx
	mov	%edx, %ebx
	mov	%rdi, %r14
	sub	$8, %rsp
	.cfi_adjust_cfa_offset 8
	mov	%rsi, %rdi
	call	*%r14
	lea	8(%rbx), %eax
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	pop	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	pop	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	ret
	end stock_saved

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

	/* int stock_with_registers(function, callback, argument, x): register n holds n * 0x0101010101010101 */
	function stock_with_registers
	.irp	register, rbx, rbp, r12, r13, r14, r15
	push	%\register
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset \register, 0
	.endr
	sub	$8, %rsp
	.cfi_adjust_cfa_offset 8
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%ecx, %edx
	mov	$0x0303030303030303, %rbx
	mov	$0x0606060606060606, %rbp
	mov	$0x0c0c0c0c0c0c0c0c, %r12
	mov	$0x0d0d0d0d0d0d0d0d, %r13
	mov	$0x0e0e0e0e0e0e0e0e, %r14
	mov	$0x0f0f0f0f0f0f0f0f, %r15
	call	*%rax
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	.irp	register, r15, r14, r13, r12, rbp, rbx
	pop	%\register
	.cfi_adjust_cfa_offset -8
	.cfi_restore \register
	.endr
	ret
	end stock_with_registers

	.section .note.GNU-stack, "", @progbits
