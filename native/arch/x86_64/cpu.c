/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which instructions may save vector state here. */
#include <cpuid.h>

#include "arch.h"
#include "layout.h"

/* Read by the assembly. */
__attribute__((visibility("hidden"))) uint32_t ulp_cpu_save = ULP_SAVE_FXSAVE;
__attribute__((visibility("hidden"))) uint32_t ulp_cpu_save_size = ULP_FXSAVE_SIZE;
__attribute__((visibility("hidden"))) uint8_t ulp_cpu_has_avx;

#define XCR0_AVX      4u
#define XCR0_AVX512   0xe0u
#define LEAF1_OSXSAVE (1u << 27)
#define LEAF1_AVX     (1u << 28)
#define LEAF_D_XSAVEC (1u << 1)

static uint32_t xcr0(void)
{
	uint32_t low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

void ulp_cpu_detect(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & LEAF1_OSXSAVE))
		return;
	ulp_cpu_save = ULP_SAVE_XSAVE;
	ulp_cpu_save_size = xcr0() & XCR0_AVX512 ? ULP_VECTOR_STATE_SIZE : ULP_AVX_STATE_SIZE;
	ulp_cpu_has_avx = (c & LEAF1_AVX) && (xcr0() & XCR0_AVX);
	if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a & LEAF_D_XSAVEC))
		ulp_cpu_save = ULP_SAVE_XSAVEC;
}
