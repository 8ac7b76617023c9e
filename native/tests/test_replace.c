/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One patch in place of others, and several reverted at once: one publish, so nobody sees a number
 * with which the old ones are gone and the new one is not there.
 */
#include <string.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, tail_of, twice, NULL};
static const struct pair both[] = {{answer, "new_answer"}, {tail_of, "new_tail_of"}, {NULL, NULL}};
static const struct pair tail_alone[] = {{tail_of, "new_tail_of"}, {NULL, NULL}};
static const struct pair newest[] = {{answer, "newest_answer"}, {NULL, NULL}};

static struct ulp_request *in_place_of(struct ulp_request *request, const unsigned char *patches)
{
	request->replaced = (request->size + 7) & ~7u;
	request->size = request->replaced;
	for (; *patches; patches++, request->replaced_count++) {
		memset((char *)request + request->size, *patches, ULP_PATCH_ID_SIZE);
		request->size += ULP_PATCH_ID_SIZE;
	}
	seal(request);
	return request;
}

static struct ulp_result replace(unsigned char patch, const struct pair *pairs, const char *others)
{
	struct ulp_request *request =
		prepare_apply(patch, PATCH_PATH, TARGET_ENDBR, functions, pairs);

	return send(in_place_of(request, (const unsigned char *)others));
}

static void are(int answer_is, int tail_is, uint64_t universe)
{
	CHECK(answer(0) == answer_is && tail_of(0) == tail_is);
	CHECK(STATE->domains[0].universe == universe);
}

static enum ulp_patch_status status(uint32_t patch)
{
	return (enum ulp_patch_status)STATE->patches[patch].status;
}

int main(void)
{
	struct ulp_request *request;
	struct ulp_result result;

	apply(1, PATCH_PATH, TARGET_ENDBR, functions, both);
	are(1000, 5000, 1);
	/* Replaces one function of the two; the other is the original again, in the same publish. */
	result = replace(2, newest, "\1");
	CHECK(result.stage == ULP_STAGE_DONE && result.universe == 2);
	are(2000, 5, 2);
	CHECK(status(0) == ULP_PATCH_REVERTED && status(1) == ULP_PATCH_APPLIED);
	CHECK(STATE->patches[0].reverted_universe == STATE->patches[1].applied_universe);

	/* One that lies between two others. */
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, both);
	apply(3, PATCH_PATH, TARGET_ENDBR, functions, tail_alone);
	are(1000, 5000, 4);
	result = replace(4, tail_alone, "\1");
	CHECK(result.stage == ULP_STAGE_DONE);
	are(2000, 5000, 5);
	revert(4);
	are(2000, 5000, 6);
	revert(3);
	are(2000, 5, 7);

	/* It is applied, and others beside it: only those go. Nobody knows one of them. */
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, both);
	result = replace(2, newest, "\1\7");
	CHECK(result.stage == ULP_STAGE_DONE && result.universe == 9);
	are(2000, 5, 9);
	CHECK(STATE->patches[1].applied_universe == 9);
	CHECK(replace(2, newest, "\1\7").error == ULP_ALREADY_APPLIED);
	are(2000, 5, 9);

	/* All at once. */
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, both);
	apply(3, PATCH_PATH, TARGET_ENDBR, functions, tail_alone);
	request = prepare_apply(3, PATCH_PATH, TARGET_ENDBR, functions, tail_alone);
	request->operation = ULP_REVERT;
	result = send(in_place_of(request, (const unsigned char *)"\1\2"));
	CHECK(result.stage == ULP_STAGE_DONE && result.universe == 12);
	are(0 + 1, 5, 12);
	for (uint32_t i = 0; i < STATE->patch_count; i++)
		CHECK(status(i) == ULP_PATCH_REVERTED);

	request = prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, both);
	in_place_of(request, (const unsigned char *)"\2")->replaced_count = 1u << 30;
	seal(request);
	CHECK(send(request).error == ULP_BAD_REQUEST);
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, both);
	are(1000, 5000, 13);
	return 0;
}
