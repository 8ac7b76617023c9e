/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two functions that jump to each other: the call that began it names one of them, whose entry
 * all the same may be the second one on the way.
 */
#include "harness.h"
#include "target.h"

static const void *const functions[] = {even, odd, NULL};
static const struct pair pairs[] = {{even, "new_even"}, {odd, "new_odd"}, {NULL, NULL}};

static void apply_once(void)
{
	static bool applied;

	if (!applied)
		apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	applied = true;
}

int main(void)
{
	struct path path = {.callback = apply_once};

	every_site = ULP_SITE_TAIL | ULP_SITE_CYCLE;
	even(&path, 3);
	CHECK(path.versions == OLD_VERSION);
	CHECK(STATE->domains[0].universe == 1 && STATE->domains[0].unprovable == 3);
	return 0;
}
