/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * long divert(void (*entry)(void), uint64_t nonce, size_t xstate_size, uint64_t interrupted);
 * Does to the calling thread what the core does from outside: builds the block below
 * the red zone and goes to the entry.  Returns, when the entry puts everything back, 0
 * or the error of the system call that was interrupted.
 */
	.text
	.globl	divert
	.type	divert, @function
divert:
	.cfi_startproc
	mov	%rsp, %rax
	lea	-384(%rsp), %r8
	sub	%rdx, %r8
	and	$-64, %r8
	mov	%rcx, 216(%r8)		/* interrupted */
	mov	%rsi, 224(%r8)		/* nonce */
	movq	$0, 232(%r8)		/* signal mask */
	mov	divert_flags(%rip), %rcx
	mov	%rcx, 240(%r8)
	movq	$0, 248(%r8)		/* the claim that a bootstrap expects */
	mov	%r15, 0(%r8)
	mov	%r14, 8(%r8)
	mov	%r13, 16(%r8)
	mov	%r12, 24(%r8)
	mov	%rbp, 32(%r8)
	mov	%rbx, 40(%r8)
	movq	$0, 80(%r8)		/* rax */
	movq	$-1, 120(%r8)
	lea	back(%rip), %rcx
	mov	%rcx, 128(%r8)
	xor	%ecx, %ecx
	mov	%cs, %cx
	mov	%rcx, 136(%r8)
	pushf
	pop	144(%r8)
	mov	%rax, 152(%r8)
	mov	%ss, %cx
	mov	%rcx, 160(%r8)
	/* a clear header, then everything that there is */
	xor	%ecx, %ecx
1:	movq	$0, 768(%r8, %rcx, 8)
	inc	%ecx
	cmp	$8, %ecx
	jne	1b
	mov	$-1, %eax
	mov	$-1, %edx
	xsave64	256(%r8)
	mov	%r8, %rbx
	mov	%r8, %rsp
	jmp	*%rdi
	/* The call would be made again here, or has failed and goes on behind its two bytes. */
back:
	nop
	nop
	ret
	.cfi_endproc
	.size	divert, . - divert
	.section .note.GNU-stack, "", @progbits
