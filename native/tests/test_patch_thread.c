/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that a patch library starts is not inside the old library, although there is only
 * the patch's code on its stack: it sees what the patch replaces.
 */
#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, twice, NULL};
static const struct pair pairs[] = {
	{answer, "new_answer"}, {twice, "answer_of_thread"}, {NULL, NULL}};

int main(void)
{
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(twice(1) == 1001);
	CHECK(STATE->domains[0].kept == 0);
	return 0;
}
