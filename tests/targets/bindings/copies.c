/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loads the library as often as it is told.
 *
 *   load PATH    -> the number of the copy that was loaded from there, where nobody else sees its names
 *   apart PATH   -> the same, in a namespace of its own
 *   sum NUMBER   -> the sum of that copy
 *   at NUMBER    -> the address of the function
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "../victim.h"

#define MOST 8

static int (*sums[MOST])(void);
static int loaded;

static void note(void *library)
{
	if (!library)
		die(dlerror());
	sums[loaded] = (int (*)(void))dlsym(library, "sum");
	answer("%d", loaded++);
}

static void run_load(char **arguments)
{
	note(dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL));
}

static void run_apart(char **arguments)
{
	note(dlmopen(LM_ID_NEWLM, arguments[1], RTLD_NOW | RTLD_LOCAL));
}

static void run_sum(char **arguments)
{
	answer("%d", sums[atoi(arguments[1])]());
}

static void run_at(char **arguments)
{
	answer("%ld", (long)sums[atoi(arguments[1])]);
}

int main(void)
{
	static const struct victim_command commands[] = {{"load", run_load},
							 {"apart", run_apart},
							 {"sum", run_sum},
							 {"at", run_at},
							 {NULL, NULL}};

	return serve(commands);
}
