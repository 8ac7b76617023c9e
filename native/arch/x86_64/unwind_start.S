/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* void ulp_unwind_start(uint64_t registers[17]): see arch.h. */
#include <cet.h>

	.text
	.globl	ulp_unwind_start
	.hidden	ulp_unwind_start
	.type	ulp_unwind_start, @function
	.balign 16
ulp_unwind_start:
	.cfi_startproc
	xor	%eax, %eax
	/* rax, rdx, rcx; rsi, rdi; r8 to r11 */
	mov	%rax, 0(%rdi)
	mov	%rax, 8(%rdi)
	mov	%rax, 16(%rdi)
	mov	%rax, 32(%rdi)
	mov	%rax, 40(%rdi)
	mov	%rax, 64(%rdi)
	mov	%rax, 72(%rdi)
	mov	%rax, 80(%rdi)
	mov	%rax, 88(%rdi)

	mov	%rbx, 24(%rdi)
	mov	%rbp, 48(%rdi)
	mov	%r12, 96(%rdi)
	mov	%r13, 104(%rdi)
	mov	%r14, 112(%rdi)
	mov	%r15, 120(%rdi)

	lea	8(%rsp), %rax
	mov	%rax, 56(%rdi)
	mov	(%rsp), %rax
	mov	%rax, 128(%rdi)
	ret
	.cfi_endproc
	.size	ulp_unwind_start, . - ulp_unwind_start
	.section .note.GNU-stack, "", @progbits
