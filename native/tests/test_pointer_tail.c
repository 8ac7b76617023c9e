/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A function of the library jumps through a pointer, where no scan for jumps finds the target:
 * the call before the return address names the function that jumped.
 */
#include "harness.h"
#include "target.h"

static const void *const functions[] = {first, last, NULL};
static const struct pair pairs[] = {{last, "new_last"}, {NULL, NULL}};

static void apply_once(void)
{
	static bool applied;

	if (!applied)
		apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	applied = true;
}

int main(void)
{
	struct path path = {.callback = apply_once}, entered = path;

	first(&path);
	CHECK(path.versions == OLD_VERSION);
	last(&entered);
	CHECK(entered.versions == NEW_VERSION);
	return 0;
}
