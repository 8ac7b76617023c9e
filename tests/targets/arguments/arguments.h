/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One function for each way in which the System V ABI passes arguments and results. */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include <complex.h>
#include <immintrin.h>

struct large {
	long member[9];
};

struct pair {
	long integer;
	double real;
};

long eight_integers(long a, long b, long c, long d, long e, long f, long g, long h);
double ten_doubles(int count, ...);
double mixed_varargs(const char *types, ...);
__m256d two_vectors(__m256d a, __m256d b);
__m256d eight_vectors(__m256d a, __m256d b, __m256d c, __m256d d, __m256d e, __m256d f, __m256d g,
		      __m256d h);
struct large returned_in_memory(long seed);
long passed_on_stack(struct large large, long seed);
struct pair returned_in_two_kinds(long integer, double real);
long double on_the_x87(long double a, long double b);
long double complex complex_x87(long double complex a);
__int128 wide_integers(__int128 a, __int128 b);

#endif
