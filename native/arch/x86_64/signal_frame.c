/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frame that the kernel puts on the stack for a signal handler. */
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"

bool ulp_signal_return(const unsigned char *instruction)
{
	/* mov $15, %rax; syscall: rt_sigreturn(2) */
	static const unsigned char code[ULP_SIGNAL_RETURN_SIZE] = {0x48, 0xc7, 0xc0, 0x0f, 0x00,
								   0x00, 0x00, 0x0f, 0x05};

	return memcmp(instruction, code, sizeof code) == 0;
}

#define SAVED(name)                                                                                \
	(uint16_t)(offsetof(ucontext_t, uc_mcontext.gregs) + REG_##name * sizeof(greg_t))

const uint16_t ulp_signal_registers[ULP_UNWIND_REGISTERS] = {
	SAVED(RAX), SAVED(RDX), SAVED(RCX), SAVED(RBX), SAVED(RSI), SAVED(RDI),
	SAVED(RBP), SAVED(RSP), SAVED(R8),  SAVED(R9),  SAVED(R10), SAVED(R11),
	SAVED(R12), SAVED(R13), SAVED(R14), SAVED(R15), SAVED(RIP),
};
