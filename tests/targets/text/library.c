/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: a function of each kind that a linker knows, and 300 that are all
 * alike.  Each gives 1, and "whole" tells how many of them the library itself
 * sees as 1 and as 2.
 */
#include "text.h"
#include "../shapes.h"

#define HUNDRED(m, h)                                                                              \
	TEN(m, h##0)                                                                               \
	TEN(m, h##1)                                                                               \
	TEN(m, h##2)                                                                               \
	TEN(m, h##3) TEN(m, h##4) TEN(m, h##5) TEN(m, h##6) TEN(m, h##7) TEN(m, h##8) TEN(m, h##9)
#define TEN(m, t) m(t##0) m(t##1) m(t##2) m(t##3) m(t##4) m(t##5) m(t##6) m(t##7) m(t##8) m(t##9)

EXPORTED OPAQUE int first(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int named(void)
{
	return unknown(1);
}

/* Another name for it, for the library and for others. */
extern __typeof__(named) alias __attribute__((alias("named"), visibility("default")));

EXPORTED OPAQUE __attribute__((weak)) int weak(void)
{
	return unknown(1);
}

OPAQUE int versioned_old(void)
{
	return unknown(1);
}

OPAQUE int versioned_new(void)
{
	return unknown(1);
}

__asm__(".symver versioned_old, versioned@TEXT_1");
__asm__(".symver versioned_new, versioned@@TEXT_2");

HIDDEN OPAQUE int hidden(void)
{
	return unknown(1);
}

static OPAQUE int local(void)
{
	return unknown(1);
}

/* What the resolver of an IFUNC chooses. */
static OPAQUE int chosen_implementation(void)
{
	return unknown(1);
}

static __attribute__((used)) int (*resolve(void))(void)
{
	return chosen_implementation;
}

EXPORTED int chosen(void) __attribute__((ifunc("resolve")));

/* Longer than a page, so that it crosses one wherever it lies. */
EXPORTED OPAQUE int crossing(int deep)
{
	int volatile version = 1;

	if (deep)
		__asm__ volatile(".fill 5000, 1, 0x90");
	return version;
}

/* Its padding begins a page. */
EXPORTED OPAQUE __attribute__((aligned(4096))) int at_the_edge(void)
{
	return unknown(1);
}

#define MANY(n)                                                                                    \
	EXPORTED OPAQUE int many_##n(void)                                                         \
	{                                                                                          \
		return unknown(1);                                                                 \
	}
HUNDRED(MANY, 1)
HUNDRED(MANY, 2)
HUNDRED(MANY, 3)

#define CALL(n) counts[many_##n() == 2]++;

EXPORTED OPAQUE void whole(int *counts)
{
	counts[0] = counts[1] = 0;
	HUNDRED(CALL, 1)
	HUNDRED(CALL, 2)
	HUNDRED(CALL, 3)
}

EXPORTED OPAQUE void each(int *results)
{
	int i = 0;

	results[i++] = first();
	results[i++] = named();
	results[i++] = alias();
	results[i++] = weak();
	results[i++] = versioned_old();
	results[i++] = versioned_new();
	results[i++] = hidden();
	results[i++] = local();
	results[i++] = chosen();
	results[i++] = crossing(1);
	results[i++] = at_the_edge();
	results[i++] = last();
	results[i++] = 0;
}

EXPORTED OPAQUE int last(void)
{
	return unknown(1);
}
