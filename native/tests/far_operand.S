/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Instructions with an operand relative to themselves, each the first of a function. */
#include <cet.h>

	.data
	.balign	16
	.globl	far_value
far_value:
	.quad	0x1122334455667788, 0x99aabbccddeeff00

	.text
.macro function number, length, displacement
	.balign	16
1:
	.pushsection .data.rel.ro, "aw"
	.balign	8
	.quad	1b, \length, \displacement, \number
	.popsection
.endm

	.pushsection .data.rel.ro, "aw"
	.balign	8
	.globl	far_functions
far_functions:
	.popsection

	/* number, length of the instruction, where its displacement begins */
	function 0, 7, 3
	lea	far_value(%rip), %rax
	ret
	function 1, 6, 2
	mov	far_value(%rip), %edx
	ret
	function 2, 7, 3
	mov	far_value(%rip), %rsi
	ret
	function 3, 7, 3
	add	far_value(%rip), %rdi
	ret
	function 4, 10, 2
	cmpl	$0x55667788, far_value(%rip)
	ret
	function 5, 7, 2
	cmpb	$0x77, far_value(%rip)
	ret
	function 6, 7, 2
	testb	$0x80, far_value(%rip)
	ret
	function 7, 8, 4
	movsd	far_value(%rip), %xmm0
	ret
	function 8, 6, 2
	mov	%esi, far_value(%rip)
	ret
	function 9, 6, 2
	mov	%dh, far_value(%rip)
	ret
	function 10, 7, 3
	mov	%sil, far_value(%rip)
	ret
	function 11, 7, 3
	lock incl far_value(%rip)
	ret
	function 12, 9, 5
	lock cmpxchg %rdx, far_value(%rip)
	ret
	function 13, 8, 4
	cmovne	far_value(%rip), %rcx
	ret
	function 14, 9, 3
	movw	$0x1234, far_value(%rip)
	ret
	function 15, 8, 3
	imul	$3, far_value(%rip), %rdx
	nop
	ret
	function 16, 6, 2
	push	far_value(%rip)
	pop	%rdx
	ret
	function 17, 7, 3
	mulq	far_value(%rip)
	ret
	/* Those of AVX and BMI, where the processor has them. */
	function 64, 8, 4
	vaddsd	far_value(%rip), %xmm6, %xmm0
	ret
	function 65, 9, 5
	andn	far_value(%rip), %rsi, %rax
	ret
	function 66, 8, 4
	vmovdqu	far_value(%rip), %xmm0
	ret

	.pushsection .data.rel.ro, "aw"
	.quad	0
	.popsection

	/* void far_call(void *function, uint64_t registers[8]): rax, rcx, rdx, rsi, rdi, flags, xmm0 before and behind */
	.globl	far_call
far_call:
	push	%rbx
	mov	%rsi, %rbx
	mov	%rdi, %r8
	movq	48(%rbx), %xmm0
	movq	56(%rbx), %xmm6
	mov	8(%rbx), %rcx
	mov	16(%rbx), %rdx
	mov	24(%rbx), %rsi
	mov	32(%rbx), %rdi
	push	40(%rbx)
	popf
	mov	0(%rbx), %rax
	call	*%r8
	mov	%rax, 0(%rbx)
	pushf
	pop	40(%rbx)
	mov	%rcx, 8(%rbx)
	mov	%rdx, 16(%rbx)
	mov	%rsi, 24(%rbx)
	mov	%rdi, 32(%rbx)
	movq	%xmm0, 48(%rbx)
	movq	%xmm6, 56(%rbx)
	pop	%rbx
	ret
	.section .note.GNU-stack, "", @progbits
