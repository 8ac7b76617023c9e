/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The functions of arguments.h, for version FACTOR: every result is FACTOR times what the arguments
 * give, so that one wrong register shows as a result of no version.  NAME gives each its name.
 */
#include "arguments.h"
#include "../shapes.h"

#include <stdarg.h>

EXPORTED OPAQUE long NAME(eight_integers)(long a, long b, long c, long d, long e, long f, long g,
					  long h)
{
	return FACTOR * (a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h);
}

EXPORTED OPAQUE double NAME(ten_doubles)(int count, ...)
{
	va_list list;
	double sum = 0;

	va_start(list, count);
	for (int i = 1; i <= count; i++)
		sum += i * va_arg(list, double);
	va_end(list);
	return FACTOR * sum;
}

EXPORTED OPAQUE double NAME(mixed_varargs)(const char *types, ...)
{
	va_list list;
	double sum = 0;

	va_start(list, types);
	for (int i = 1; *types; i++, types++)
		sum += i * (*types == 'd' ? va_arg(list, double) : (double)va_arg(list, long));
	va_end(list);
	return FACTOR * sum;
}

EXPORTED OPAQUE __m256d NAME(two_vectors)(__m256d a, __m256d b)
{
	return FACTOR * (a + 2 * b);
}

EXPORTED OPAQUE __m256d NAME(eight_vectors)(__m256d a, __m256d b, __m256d c, __m256d d, __m256d e,
					    __m256d f, __m256d g, __m256d h)
{
	return FACTOR * (a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h);
}

EXPORTED OPAQUE struct large NAME(returned_in_memory)(long seed)
{
	struct large large;

	for (int i = 0; i < 9; i++)
		large.member[i] = FACTOR * (seed + i);
	return large;
}

EXPORTED OPAQUE long NAME(passed_on_stack)(struct large large, long seed)
{
	long sum = seed;

	for (int i = 0; i < 9; i++)
		sum += (i + 1) * large.member[i];
	return FACTOR * sum;
}

EXPORTED OPAQUE struct pair NAME(returned_in_two_kinds)(long integer, double real)
{
	return (struct pair){FACTOR * integer, FACTOR * real};
}

EXPORTED OPAQUE long double NAME(on_the_x87)(long double a, long double b)
{
	return FACTOR * (a + 2 * b);
}

EXPORTED OPAQUE long double complex NAME(complex_x87)(long double complex a)
{
	return FACTOR * a;
}

EXPORTED OPAQUE __int128 NAME(wide_integers)(__int128 a, __int128 b)
{
	return FACTOR * (a + 2 * b);
}
