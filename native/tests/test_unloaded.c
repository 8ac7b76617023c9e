/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames of libraries that were loaded after the last request, and of one that lies where another
 * was unloaded: they are walked through, and nothing of what is gone is read.  Seen to fail
 * without still_there() in image_table.c, and without a second look at the list.
 */
#include <dlfcn.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static bool applied;

static void publish(void)
{
	if (applied)
		revert(1);
	else
		apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	applied = !applied;
}

/* The loader puts the small one where the upper end of the large one was. */
static const char *const plugins[] = {PLUGIN_LARGE, PLUGIN_SMALL};

static void call_through(const char *path, int expected)
{
	uint64_t unprovable = STATE->domains[0].unprovable, kept = STATE->domains[0].kept;
	int (*through)(int (*function)(int), int argument);
	/* Nobody tells the runtime of it. */
	void *plugin = dlopen(path, RTLD_NOW);

	CHECK(plugin);
	*(void **)&through = dlsym(plugin, "through");
	CHECK(through(answer, 1) == expected);
	CHECK(STATE->domains[0].unprovable == unprovable);
	CHECK(STATE->domains[0].kept == kept + 1);
	CHECK(dlclose(plugin) == 0);
}

/* From within the library, through a plugin, and back in: only the frames tell that it is no entry. */
static void come_back(void *argument)
{
	int expected = applied ? 1001 : 2;

	(void)argument;
	publish();
	for (int i = 0; i < 6; i++)
		call_through(plugins[i % 2], expected);
}

int main(void)
{
	publish();
	CHECK(answer(1) == 1001);
	for (int i = 0; i < 4; i++) {
		answer_after(come_back, NULL, 1);
		CHECK(answer(1) == (applied ? 1001 : 2));
	}
	return 0;
}
