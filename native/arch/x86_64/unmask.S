/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bool ulp_unmask(const uint64_t *mask);
 *
 * A signal handler's frame is put right below the red zone.  That memory is filled with a
 * pattern; after the system call that lets handlers run it tells whether one did.  The frame's
 * upper end, which is always written, is the mark behind the extended state, aligned to 64.
 */
#include <cet.h>

#define SYS_RT_SIGPROCMASK 14
#define SIG_SETMASK         2
#define RED_ZONE          128
#define WATCHED           256
#define PATTERN 0x5a5aa5a5c3c33c3c

	.text
	.globl	ulp_unmask
	.hidden	ulp_unmask
	.type	ulp_unmask, @function
	.balign 16
ulp_unmask:
	.cfi_startproc
	mov	%rdi, %rsi
	mov	$PATTERN, %rax
	lea	-(RED_ZONE + WATCHED)(%rsp), %rdi
	mov	$(WATCHED / 8), %ecx
	rep stosq

	mov	$SIG_SETMASK, %edi
	xor	%edx, %edx
	mov	$8, %r10d
	mov	$SYS_RT_SIGPROCMASK, %eax
	syscall

	mov	$PATTERN, %rax
	lea	-(RED_ZONE + WATCHED)(%rsp), %rdi
	mov	$(WATCHED / 8), %ecx
	repe scasq
	setne	%al
	ret
	.cfi_endproc
	.size	ulp_unmask, . - ulp_unmask
	.section .note.GNU-stack, "", @progbits
