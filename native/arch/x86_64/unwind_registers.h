/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Registers as frame descriptions number them (psABI, figure 3.36), and the frame of a signal. */
#ifndef ULP_ARCH_UNWIND_REGISTERS_H
#define ULP_ARCH_UNWIND_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

#define ULP_UNWIND_REGISTERS      17
#define ULP_UNWIND_STACK_POINTER  7
#define ULP_UNWIND_RETURN_ADDRESS 16

/* ---- unwind_start.S */

/*
 * The registers as the caller of this function has them, once it has returned: those that a
 * callee must preserve, the stack pointer, and in place of the return address the instruction.
 * The others are set to 0.
 */
void ulp_unwind_start(uint64_t registers[ULP_UNWIND_REGISTERS]);

/* ---- signal_frame.c */

/* The longest code that ulp_signal_return() compares. */
#define ULP_SIGNAL_RETURN_SIZE 9

/* Whether the code at `instruction` is what a signal handler returns to. */
bool ulp_signal_return(const unsigned char *instruction);

/*
 * Where the kernel has saved the registers, in the order of their numbers, relative to the stack
 * pointer that a handler returns with.
 */
extern const uint16_t ulp_signal_registers[ULP_UNWIND_REGISTERS];

#endif
