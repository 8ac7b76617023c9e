/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes that keep the shape of a library's code as its source shows it. */
#ifndef SHAPES_H
#define SHAPES_H

#ifdef __cplusplus
#define EXPORTED extern "C" __attribute__((visibility("default")))
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

/* A function inside the library that callers reach directly, by a relative call. */
#define HIDDEN __attribute__((visibility("hidden")))

/* Never inlined, cloned or analysed: every call is a call. */
#ifdef __clang__
#define OPAQUE __attribute__((noinline))
#else
#define OPAQUE __attribute__((noipa))
#endif

/* A result that no compiler knows: clang looks into functions that it must not inline. */
static inline __attribute__((always_inline)) int unknown(int value)
{
	__asm__ volatile("" : "+r"(value));
	return value;
}

/* Of a new function that leaves alone what callers of the old one may rely on, where a library has no padding. */
#ifdef KEEPS_REGISTERS
#define KEEPING __attribute__((no_caller_saved_registers))
#else
#define KEEPING
#endif

#endif
