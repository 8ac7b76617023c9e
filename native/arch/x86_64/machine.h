/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What arch.h asks for as values, and what is too short to be called. */
#ifndef ULP_ARCH_MACHINE_H
#define ULP_ARCH_MACHINE_H

/* As many as fit into the reach of a 32-bit displacement with ease. */
#define ULP_STUB_POOL_SIZE (4 << 20)

/* A cell for every function without padding that is ever hooked. */
#define ULP_CELL_POOL_SIZE (1 << 20)

/* Bytes of a jump that leads up to 2 GiB away, and of one that leads up to 127 bytes away. */
#define ULP_JUMP_SIZE       5
#define ULP_SHORT_JUMP_SIZE 2

/* Bytes; Intel SDM volume 2, 2.3.11. */
#define ULP_LONGEST_INSTRUCTION 15

/* ff /2 takes 2 to 7 bytes, by its addressing form. */
#define ULP_LONGEST_CALL 7

/* endbr64 */
#define ULP_ENDBR_SIZE 4

/* endbr64, nops and pushes. */
#define ULP_LONGEST_WAY_IN 32

#ifndef __ASSEMBLER__

/* Documentation/arch/x86/x86_64/mm.rst; with five levels of page tables nothing is mapped above unasked, either. */
#define ULP_PAGE        4096ull
#define ULP_ADDRESS_END ((1ull << 47) - ULP_PAGE)

#include <stddef.h>
#include <stdint.h>

/* ---- registers */

/* sys/user.h, struct user_regs_struct */
#define ULP_REGISTERS 27

/* psABI, figure 3.36: the general registers and, as number 16, the return address. */
#define ULP_UNWIND_REGISTERS      17
#define ULP_UNWIND_STACK_POINTER  7
#define ULP_UNWIND_RETURN_ADDRESS 16

/* mov $15, %rax; syscall */
#define ULP_SIGNAL_RETURN_SIZE 9

/* asm/sigcontext.h: cs, gs, fs and ss of 64-bit user code, 16 bits each */
#define ULP_SIGNAL_FRAME_SEGMENTS 0x002b000000000033ull

/* ---- the C library and the kernel */

/* psABI, "Program Interpreter" */
#define ULP_LOADER_NAME "ld-linux-x86-64.so.2"

/* arch/x86/include/asm/signal.h of the kernel: struct sigaction, where there is a restorer */
struct ulp_kernel_action {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

static inline uint64_t ulp_thread_pointer(void)
{
	return (uint64_t)__builtin_thread_pointer();
}

static inline long ulp_system_call_6(long number, long a, long b, long c, long d, long e, long f)
{
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = e;
	register long sixth __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
			 : "rcx", "r11", "memory");
	return result;
}

/* ---- memory */

static inline void ulp_copy_long(void *to, const void *from, size_t size)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static inline void ulp_fill_long(void *to, int byte, size_t size)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
}

#endif /* __ASSEMBLER__ */
#endif
