/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uint64_t call_with_registers(void (*function)(void));
 * Calls it with a known value in every register that can carry an argument: general
 * register number n holds n * 0x0101010101010101, ymm n the bytes n + 0x40.  Returns the
 * stack pointer that the function must have seen.
 */
	.text
	.globl	call_with_registers
	.type	call_with_registers, @function
call_with_registers:
	.cfi_startproc
	push	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	mov	%rdi, %rbx
	.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	mov	$(0x0101010101010101 * (\number + 0x40)), %rax
	vmovq	%rax, %xmm\number
	vpunpcklqdq %xmm\number, %xmm\number, %xmm\number
	vinsertf128 $1, %xmm\number, %ymm\number, %ymm\number
	.endr
	mov	$0x0101010101010101, %rax
	imul	$2, %rax, %rdi
	imul	$3, %rax, %rsi
	imul	$4, %rax, %rdx
	imul	$5, %rax, %rcx
	imul	$6, %rax, %r8
	imul	$7, %rax, %r9
	imul	$8, %rax, %r10
	imul	$9, %rax, %r11
	call	*%rbx
	vzeroupper
	lea	-8(%rsp), %rax
	pop	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_endproc
	.size	call_with_registers, . - call_with_registers
	.section .note.GNU-stack, "", @progbits
