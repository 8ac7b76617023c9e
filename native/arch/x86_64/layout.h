/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes and offsets that C and assembly must agree on. */
#ifndef ULP_ARCH_LAYOUT_H
#define ULP_ARCH_LAYOUT_H

/*
 * The vector state that code called from the slow path may destroy, as bits of
 * XCR0: SSE, AVX, and the three of AVX-512.  x87 is left out: neither the runtime
 * nor the unwinder touches it.
 */
#define ULP_VECTOR_STATE 0xe6

/* Where the standard XSAVE format of these components ends; the compacted one is not longer. */
#define ULP_FXSAVE_SIZE       512
#define ULP_AVX_STATE_SIZE    832
#define ULP_VECTOR_STATE_SIZE 2688
#define ULP_XSAVE_HEADER      512
#define ULP_XSAVE_HEADER_SIZE 64

/* ulp_cpu_save: how the slow path saves vector state */
#define ULP_SAVE_FXSAVE 0
#define ULP_SAVE_XSAVE  1
#define ULP_SAVE_XSAVEC 2

/* user_regs_struct */
#define REG_R15      0
#define REG_R14      8
#define REG_R13      16
#define REG_R12      24
#define REG_RBP      32
#define REG_RBX      40
#define REG_R11      48
#define REG_R10      56
#define REG_R9       64
#define REG_R8       72
#define REG_RAX      80
#define REG_RCX      88
#define REG_RDX      96
#define REG_RSI      104
#define REG_RDI      112
#define REG_ORIG_RAX 120
#define REG_RIP      128
#define REG_RSP      152

#endif
