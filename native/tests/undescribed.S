/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * int undescribed_call(int (*function)(int), int argument);
 * void undescribed_callback(void *argument);
 * Callers without a frame description, like a just-in-time compiler's code.  The second
 * calls described_callback.
 */
	.text
	.globl	undescribed_call
	.type	undescribed_call, @function
undescribed_call:
	mov	%rdi, %rax
	mov	%esi, %edi
	/* A stale word where an unwinder that guesses would look for the way out. */
	push	$0
	call	*%rax
	pop	%rcx
	ret
	.size	undescribed_call, . - undescribed_call

	.globl	undescribed_callback
	.weak	described_callback
	.type	undescribed_callback, @function
undescribed_callback:
	push	$0
	call	described_callback@PLT
	pop	%rcx
	ret
	.size	undescribed_callback, . - undescribed_callback
	.section .note.GNU-stack, "", @progbits
