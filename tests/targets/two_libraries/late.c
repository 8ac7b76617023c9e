/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Not linked against either library.
 *
 *   load NAME PATH   -> "loaded": the library NAME, lower or upper, by dlopen
 *   version NAME     -> the version that the main thread gets of it
 */
#include "../victim.h"

#include <dlfcn.h>

static int (*version[2])(void);

static int is_upper(const char *name)
{
	return !strcmp(name, "upper");
}

static void run_load(char **arguments)
{
	int upper = is_upper(arguments[1]);
	void *library = dlopen(arguments[2], RTLD_NOW);

	if (!library) {
		fprintf(stderr, "victim: %s\n", dlerror());
		_exit(70);
	}
	version[upper] = (int (*)(void))dlsym(library, upper ? "upper_version" : "lower_version");
	answer("loaded");
}

static void run_version(char **arguments)
{
	answer("%d", version[is_upper(arguments[1])]());
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"load", run_load},
		{"version", run_version},
		{NULL, NULL},
	};

	return serve(commands);
}
