/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   sum      -> the sum
 *   thread   -> the sum of a thread that has just been started
 *   copied   -> the variable that the program may have a copy of
 */
#include <dlfcn.h>

#include "../victim.h"
#include "bindings.h"

#ifdef LOADED_LOCALLY
static int (*sum_of_library)(void), *copied_of_library;

static void load(void)
{
	void *handle = dlopen("libbindings.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		die(dlerror());
	sum_of_library = (int (*)(void))dlsym(handle, "sum");
	copied_of_library = dlsym(handle, "copied");
}
#else
static int (*sum_of_library)(void) = sum;
static int *copied_of_library = &copied;

static void load(void)
{
}

/* In place of the library's. */
int interposed(void)
{
	return 60000;
}
#endif

static void run_sum(char **arguments)
{
	(void)arguments;
	answer("%d", sum_of_library());
}

static void *sum_of_thread(void *argument)
{
	(void)argument;
	return (void *)(long)sum_of_library();
}

static void run_thread(char **arguments)
{
	(void)arguments;
	answer("%ld", (long)join_thread(start_thread(sum_of_thread, NULL)));
}

static void run_copied(char **arguments)
{
	(void)arguments;
	answer("%d", *copied_of_library);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"sum", run_sum}, {"thread", run_thread}, {"copied", run_copied}, {NULL, NULL}};

	load();
	return serve(commands);
}
