/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What looks like a call of a function that is nowhere is neither followed nor believed. */
#include "harness.h"
#include "target.h"

int misread_near_call(int (*function)(int), int argument);
int misread_far_call(int (*function)(int), int argument);

static const void *const functions[] = {answer, tail_of, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {tail_of, "new_tail_of"}, {NULL, NULL}};

int main(void)
{
	tail = tail_of;
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(misread_near_call(tail_of, 1) == 6);
	CHECK(misread_far_call(tail_of, 1) == 6);
	CHECK(misread_near_call(answer, 1) == 1001);
	revert(1);
	CHECK(misread_far_call(answer, 1) == 2);
	CHECK(STATE->domains[0].unprovable == 2);
	return 0;
}
