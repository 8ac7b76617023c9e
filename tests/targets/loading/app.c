/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Not linked against the target: it comes and goes by dlopen and dlclose.
 *
 *   load PATH    -> the library's address after dlopen, in hex, or 0
 *   unload       -> 1 while the library is still mapped after dlclose, else 0
 *   version      -> the layout that its function gives
 *   churn PATH   -> a thread loads, calls and unloads it in a loop; "churning" after the first
 *   round        -> "round" when it has made one that began after this command
 *   settle       -> ends that thread; "ROUNDS OLD NEW"
 */
#define _GNU_SOURCE
#include "../victim.h"

#include <dlfcn.h>
#include <link.h>

static void *library;
static int (*transact)(long);
static char path[VICTIM_LINE];
static pthread_t churner;
static int stopping;
static unsigned long rounds, counts[3];

static void load(void)
{
	library = dlopen(path, RTLD_NOW);
	if (!library) {
		fprintf(stderr, "victim: %s\n", dlerror());
		_exit(70);
	}
	transact = (int (*)(long))dlsym(library, "transact");
}

static void run_load(char **arguments)
{
	struct link_map *map;

	snprintf(path, sizeof(path), "%s", arguments[1]);
	load();
	if (dlinfo(library, RTLD_DI_LINKMAP, &map))
		die("dlinfo");
	answer("%lx", (unsigned long)map->l_addr);
}

static void run_unload(char **arguments)
{
	void *still;

	(void)arguments;
	if (dlclose(library))
		die("dlclose");
	still = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
	if (still)
		dlclose(still);
	answer("%d", still != NULL);
}

static void run_version(char **arguments)
{
	(void)arguments;
	answer("%d", transact(7));
}

static void *churn(void *argument)
{
	(void)argument;
	while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
		int seen;

		load();
		seen = transact(7);
		counts[seen == 1 || seen == 2 ? seen - 1 : 2]++;
		if (dlclose(library))
			die("dlclose");
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run_churn(char **arguments)
{
	snprintf(path, sizeof(path), "%s", arguments[1]);
	churner = start_thread(churn, NULL);
	wait_for_count(&rounds, 1);
	answer("churning");
}

static void run_round(char **arguments)
{
	(void)arguments;
	wait_for_count(&rounds, __atomic_load_n(&rounds, __ATOMIC_ACQUIRE) + 2);
	answer("round");
}

static void run_settle(char **arguments)
{
	(void)arguments;
	__atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
	join_thread(churner);
	if (counts[2])
		die("layouts mixed");
	answer("%lu %lu %lu", rounds, counts[0], counts[1]);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"load", run_load},   {"unload", run_unload}, {"version", run_version},
		{"churn", run_churn}, {"round", run_round},   {"settle", run_settle},
		{NULL, NULL},
	};

	return serve(commands);
}
