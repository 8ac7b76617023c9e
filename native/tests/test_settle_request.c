/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries that prove nothing by themselves: once the core has seen the thread outside and says so,
 * the next one takes the newest universe.
 */
#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, tail_of, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {tail_of, "new_tail_of"}, {NULL, NULL}};

/* As the core sees it, with this thread outside. */
static void see_all_outside(void)
{
	settled = (uint32_t)STATE->domains[0].universe;
	settled_keeps = STATE->domains[0].keeps;
	settle(1);
	CHECK(STATE->domains[0].floor == STATE->domains[0].universe);
	settled = 0;
}

int main(void)
{
	int (*volatile pointer)(int) = tail_of;

	/* Code of the library may jump to the one, code of the patch library to both. */
	tail = tail_of;
	every_site = ULP_SITE_JUMPED;
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(pointer(1) == 6);
	CHECK(STATE->domains[0].unprovable == 1);
	see_all_outside();
	CHECK(pointer(1) == 5001);
	CHECK(STATE->domains[0].unprovable == 1);

	/* Whoever has the number of the patch may be in its code, and come from there. */
	revert(1);
	CHECK(answer(1) == 1001);
	CHECK(STATE->domains[0].unprovable == 2);
	see_all_outside();
	CHECK(answer(1) == 2);
	/* Again in no code of a patch library, for it has the revert's number: but that is not known. */
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer(1) == 2);
	see_all_outside();
	CHECK(answer(1) == 1001);
	return 0;
}
