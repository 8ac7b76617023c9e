/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ulp_request_entry: where the core diverts a thread to.  See "diversion" in
 * ulp/abi.h: rsp = rbx = the block B, everything that the thread had is in B.
 *
 * Nothing is asked of the core from here on: this code puts every register back
 * by itself, so that the injector may die at any moment.  It leaves by iretq,
 * the one instruction that loads rip, rsp and the flags together from memory
 * above the stack pointer; below it nothing may be relied on.  (rt_sigreturn
 * would make the kernel forget a call that is to be restarted.)
 *
 * The frame description makes B look like what a signal handler's return leads
 * to: each register is found in B, through rbx, or through rsp once rbx has been
 * loaded.  DWARF numbers: rax 0, rdx 1, rcx 2, rbx 3, rsi 4, rdi 5, rbp 6, rsp 7,
 * r8..r15, rip 16.
 */
#include <cet.h>

#include "layout.h"

/* DW_CFA_expression: register \reg lies at breg\base + \offset (two-byte SLEB128). */
.macro saved_at reg, base, offset
	.cfi_escape 0x10, \reg, 3, 0x70 + \base, ((\offset) & 0x7f) | 0x80, ((\offset) >> 7) & 0x7f
.endm

/* Register \base points \displacement bytes into the block. */
.macro saved_in_block base, displacement
	/* DW_CFA_def_cfa_expression: the interrupted stack pointer, dereferenced. */
	.cfi_escape 0x0f, 4, 0x70 + \base, ((REG_RSP-\displacement) & 0x7f) | 0x80, ((REG_RSP-\displacement) >> 7) & 0x7f, 0x06
	saved_at 0, \base, (REG_RAX-\displacement)
	saved_at 1, \base, (REG_RDX-\displacement)
	saved_at 2, \base, (REG_RCX-\displacement)
	saved_at 3, \base, (REG_RBX-\displacement)
	saved_at 4, \base, (REG_RSI-\displacement)
	saved_at 5, \base, (REG_RDI-\displacement)
	saved_at 6, \base, (REG_RBP-\displacement)
	saved_at 8, \base, (REG_R8-\displacement)
	saved_at 9, \base, (REG_R9-\displacement)
	saved_at 10, \base, (REG_R10-\displacement)
	saved_at 11, \base, (REG_R11-\displacement)
	saved_at 12, \base, (REG_R12-\displacement)
	saved_at 13, \base, (REG_R13-\displacement)
	saved_at 14, \base, (REG_R14-\displacement)
	saved_at 15, \base, (REG_R15-\displacement)
	saved_at 16, \base, (REG_RIP-\displacement)
.endm

	.text
	.globl	ulp_request_entry
	.hidden	ulp_request_entry
	.type	ulp_request_entry, @function
	.balign 16
	/* An unwinder that is handed a return address looks one byte before it. */
	nop
ulp_request_entry:
	.cfi_startproc
	.cfi_signal_frame
	saved_in_block 3, 0

	/* The state that the ABI promises to a C function. */
	fninit
	ldmxcsr	default_mxcsr(%rip)
	cmpb	$0, ulp_cpu_has_avx(%rip)
	je	1f
	vzeroupper
1:
	mov	%rbx, %rdi
	call	ulp_entry

	/* Everything back: the extended state first, it needs eax and edx. */
	mov	$-1, %eax
	mov	$-1, %edx
	xrstor64 256(%rbx)
	mov	REG_R15(%rbx), %r15
	mov	REG_R14(%rbx), %r14
	mov	REG_R13(%rbx), %r13
	mov	REG_R12(%rbx), %r12
	mov	REG_RBP(%rbx), %rbp
	mov	REG_R11(%rbx), %r11
	mov	REG_R10(%rbx), %r10
	mov	REG_R9(%rbx), %r9
	mov	REG_R8(%rbx), %r8
	mov	REG_RAX(%rbx), %rax
	mov	REG_RCX(%rbx), %rcx
	mov	REG_RDX(%rbx), %rdx
	mov	REG_RSI(%rbx), %rsi
	mov	REG_RDI(%rbx), %rdi
	/* rip, cs, eflags, rsp, ss stand in the block as iretq wants them. */
	lea	REG_RIP(%rbx), %rsp
	mov	REG_RBX(%rbx), %rbx
	saved_in_block 7, REG_RIP
	iretq
	.cfi_endproc
	.size	ulp_request_entry, . - ulp_request_entry

	.section .rodata
	.balign 4
default_mxcsr:
	.long	0x1f80
	.section .note.GNU-stack, "", @progbits
