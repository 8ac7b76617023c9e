/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   list              -> the names of the calls
 *   call NAME         -> the version (1 or 2) that its result belongs to, 0 when it is wrong
 *   fresh NAME        -> likewise, as the first call of a new thread
 *   calls N           -> "OLD NEW WRONG" of N rounds over all calls, on the main thread
 */
#include "../victim.h"
#include "arguments.h"

#include <stdbool.h>

/* The version whose result this is, or 0. */
#define VERSION_OF(result, once) ((result) == (once) ? 1 : (result) == 2 * (once) ? 2 : 0)

static volatile long one = 1;

static int call_eight_integers(void)
{
	long n = one;

	return VERSION_OF(eight_integers(n, n << 40, -n, n + 2, n + 3, n - 5, n << 33, -n << 20),
			  n + 2 * (n << 40) - 3 * n + 4 * (n + 2) + 5 * (n + 3) + 6 * (n - 5) +
				  7 * (n << 33) + 8 * (-n << 20));
}

static int call_ten_doubles(void)
{
	double n = (double)one;

	return VERSION_OF(ten_doubles(10, n, n * 2, n * 4, n * 8, n * 16, n * 32, n * 64, n * 128,
				      n * 256, n * 512),
			  1 + 4 + 12 + 32 + 80 + 192 + 448 + 1024 + 2304 + 5120.0);
}

static int call_mixed_varargs(void)
{
	long n = one;

	return VERSION_OF(mixed_varargs("ldldldldlldldd", n, 2.0, n, 3.0, n, 4.0, n, 5.0, n, 10 * n,
					6.0, n, 7.0, 8.0),
			  1 + 4.0 + 3 + 12 + 5 + 24 + 7 + 40 + 9 + 100 + 66 + 12 + 91 + 112);
}

static int vector_version(__m256d result, __m256d once)
{
	int version = VERSION_OF(result[0], once[0]);

	for (int i = 1; i < 4; i++)
		if (VERSION_OF(result[i], once[i]) != version)
			return 0;
	return version;
}

static int call_two_vectors(void)
{
	double n = (double)one;
	__m256d a = {n, n * 2, n * 3, n * 4}, b = {n * 5, n * 6, n * 7, n * 8};

	return vector_version(two_vectors(a, b), a + 2 * b);
}

static int call_eight_vectors(void)
{
	double n = (double)one;
	__m256d v[8];
	__m256d once = {0, 0, 0, 0};

	for (int i = 0; i < 8; i++) {
		v[i] = (__m256d){n + i, n * 100 + i, n * 1000 + i, n * 10000 + i};
		once += (i + 1) * v[i];
	}
	return vector_version(eight_vectors(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]), once);
}

static int call_returned_in_memory(void)
{
	struct large large = returned_in_memory(1000 * one);
	int version = VERSION_OF(large.member[0], 1000);

	for (int i = 1; i < 9; i++)
		if (VERSION_OF(large.member[i], 1000 + i) != version)
			return 0;
	return version;
}

static int call_passed_on_stack(void)
{
	struct large large;
	long once = 7;

	for (int i = 0; i < 9; i++) {
		large.member[i] = one << (4 * i);
		once += (i + 1) * (1L << (4 * i));
	}
	return VERSION_OF(passed_on_stack(large, 7 * one), once);
}

static int call_returned_in_two_kinds(void)
{
	struct pair pair = returned_in_two_kinds(11 * one, 13.0 * (double)one);
	int version = VERSION_OF(pair.integer, 11);

	return VERSION_OF(pair.real, 13.0) == version ? version : 0;
}

static int call_on_the_x87(void)
{
	long double third = (long double)one / 3;

	return VERSION_OF(on_the_x87(third, 5 * third), third + 2 * (5 * third));
}

static int call_complex_x87(void)
{
	long double complex result = complex_x87((long double)one + (long double)one * 3 * I);
	int version = VERSION_OF(creall(result), 1);

	return VERSION_OF(cimagl(result), 3) == version ? version : 0;
}

static int call_wide_integers(void)
{
	__int128 a = ((__int128)one << 100) + 3, b = ((__int128)one << 80) + 5;

	return VERSION_OF(wide_integers(a, b), a + 2 * b);
}

static const struct call {
	const char *name;
	int (*call)(void);
	bool needs_avx;
} calls[] = {
	{"eight_integers", call_eight_integers, false},
	{"ten_doubles", call_ten_doubles, false},
	{"mixed_varargs", call_mixed_varargs, false},
	{"two_vectors", call_two_vectors, true},
	{"eight_vectors", call_eight_vectors, true},
	{"returned_in_memory", call_returned_in_memory, false},
	{"passed_on_stack", call_passed_on_stack, false},
	{"returned_in_two_kinds", call_returned_in_two_kinds, false},
	{"on_the_x87", call_on_the_x87, false},
	{"complex_x87", call_complex_x87, false},
	{"wide_integers", call_wide_integers, false},
};

#define CALLS (sizeof(calls) / sizeof(*calls))

static bool possible(const struct call *call)
{
	return !call->needs_avx || __builtin_cpu_supports("avx");
}

static const struct call *call_by_name(const char *name)
{
	for (size_t i = 0; i < CALLS; i++)
		if (!strcmp(calls[i].name, name))
			return &calls[i];
	die("no such call");
	return NULL;
}

static void run_list(char **arguments)
{
	char line[VICTIM_LINE] = "";

	(void)arguments;
	for (size_t i = 0; i < CALLS; i++)
		if (possible(&calls[i])) {
			strcat(line, *line ? " " : "");
			strcat(line, calls[i].name);
		}
	answer("%s", line);
}

static void run_call(char **arguments)
{
	answer("%d", call_by_name(arguments[1])->call());
}

static void *visit(void *call)
{
	return (void *)(long)((const struct call *)call)->call();
}

static void run_fresh(char **arguments)
{
	answer("%ld", (long)join_thread(start_thread(visit, (void *)call_by_name(arguments[1]))));
}

static void run_calls(char **arguments)
{
	unsigned long count[3] = {0};

	for (long round = strtol(arguments[1], NULL, 10); round > 0; round--)
		for (size_t i = 0; i < CALLS; i++)
			if (possible(&calls[i]))
				count[calls[i].call()]++;
	answer("%lu %lu %lu", count[1], count[2], count[0]);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"list", run_list},   {"call", run_call}, {"fresh", run_fresh},
		{"calls", run_calls}, {NULL, NULL},
	};

	return serve(commands);
}
