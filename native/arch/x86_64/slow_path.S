/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ulp_slow_path: a thread reached a hooked function while its universe number is
 * not the domain's.  Decide (ulp_universe_enter) and go on as if nothing had
 * happened.
 *
 * A stub jumps here, so the stack is as at the function's first instruction, with
 *   r11       the stub's descriptor
 *   -8(%rsp)  the caller's r11 (in the red zone, which no signal handler touches)
 *
 * Every register that may carry something into a function is preserved: the six
 * integer arguments, rax (vector count of a variadic call), r10 (static chain),
 * r11 and the vector registers.  Callee-saved ones are left to the C code.
 */
#include <cet.h>

#include "layout.h"

	/* With the stubs: code that a thread passes on its way into a function. */
	.section ulp_entering, "ax", @progbits
	.globl	ulp_slow_path
	.hidden	ulp_slow_path
	.type	ulp_slow_path, @function
	.balign 16
ulp_slow_path:
	.cfi_startproc
	/* Take the caller's r11 onto the stack, where it already lies. */
	lea	-8(%rsp), %rsp
	.cfi_adjust_cfa_offset 8
	push	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	mov	%rsp, %rbp
	.cfi_def_cfa_register rbp
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10

	/* The two arguments: the descriptor, and where the return address lies. */
	mov	%r11, %rdi
	lea	16(%rbp), %rsi

	/* Vector state, 64-byte aligned; the restoring instruction insists on a clear header. */
	mov	ulp_cpu_save_size(%rip), %eax
	sub	%rax, %rsp
	and	$-64, %rsp
	cmpl	$ULP_SAVE_XSAVE, ulp_cpu_save(%rip)
	jb	1f
	xor	%eax, %eax
	xor	%edx, %edx
	mov	%rax, ULP_XSAVE_HEADER + 0(%rsp)
	mov	%rax, ULP_XSAVE_HEADER + 8(%rsp)
	mov	%rax, ULP_XSAVE_HEADER + 16(%rsp)
	mov	%rax, ULP_XSAVE_HEADER + 24(%rsp)
	mov	%rax, ULP_XSAVE_HEADER + 32(%rsp)
	mov	%rax, ULP_XSAVE_HEADER + 40(%rsp)
	mov	%rax, ULP_XSAVE_HEADER + 48(%rsp)
	mov	%rax, ULP_XSAVE_HEADER + 56(%rsp)
	mov	$ULP_VECTOR_STATE, %eax
	jne	2f
	xsave64	(%rsp)
	jmp	3f
1:	fxsave64 (%rsp)
	jmp	3f
2:	xsavec64 (%rsp)
3:
	call	ulp_universe_enter
	mov	%rax, %r11			/* where to go on */

	cmpl	$ULP_SAVE_XSAVE, ulp_cpu_save(%rip)
	jb	4f
	mov	$ULP_VECTOR_STATE, %eax
	xor	%edx, %edx
	xrstor64 (%rsp)
	jmp	5f
4:	fxrstor64 (%rsp)
5:
	lea	-64(%rbp), %rsp
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	/* r11 is the caller's again; its place takes the address to go to. */
	xchg	%r11, 8(%rbp)
	pop	%rbp
	.cfi_def_cfa rsp, 16
	.cfi_restore rbp
	lea	8(%rsp), %rsp
	.cfi_adjust_cfa_offset -8
	/* To a stub, in the middle of one, or behind a function's nops: no endbr64 is there. */
	notrack jmp *-8(%rsp)
	.cfi_endproc
	.size	ulp_slow_path, . - ulp_slow_path
	.section .note.GNU-stack, "", @progbits
