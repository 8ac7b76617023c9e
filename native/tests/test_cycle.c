/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two functions that jump to each other: the call that began it names one of them, whose entry
 * all the same may be the second one on the way.  That they do may come to light with a later
 * request, by what its patch library does.
 */
#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, even, odd, NULL};
static const struct pair other[] = {{answer, "new_answer"}, {NULL, NULL}};
static const struct pair pairs[] = {{even, "new_even"}, {odd, "new_odd"}, {NULL, NULL}};

static void apply_once(void)
{
	static bool applied;

	every_site = ULP_SITE_TAIL | ULP_SITE_CYCLE;
	if (!applied)
		apply(2, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	applied = true;
}

int main(void)
{
	struct path path = {.callback = apply_once};

	apply(1, PATCH_PATH, TARGET_ENDBR, functions, other);
	even(&path, 3);
	CHECK(path.versions == OLD_VERSION);
	CHECK(STATE->domains[0].universe == 2 && STATE->domains[0].unprovable == 3);
	return 0;
}
