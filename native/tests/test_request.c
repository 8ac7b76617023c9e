/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request that is not right changes nothing, and the answer says why. */
#include <string.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, twice, answer_after, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

static struct ulp_request *prepare(void)
{
	return prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
}

static struct ulp_request_library *library_of(struct ulp_request *request)
{
	return (void *)((char *)request + request->libraries);
}

static void fails_with(struct ulp_request *request, enum ulp_error error)
{
	const volatile unsigned char *code =
		(const unsigned char *)((uint64_t)answer - ULP_PAD_BEFORE);
	struct ulp_result result;
	unsigned char before[16];

	for (unsigned i = 0; i < sizeof before; i++)
		before[i] = code[i];
	result = send(request);
	if (result.error != (int32_t)error)
		fprintf(stderr, "error %d, not %d: %s\n", result.error, error, result.detail);
	CHECK(result.stage == ULP_STAGE_FAILED || result.stage == ULP_STAGE_REFUSED);
	CHECK(result.error == (int32_t)error);
	for (unsigned i = 0; i < sizeof before; i++)
		CHECK(before[i] == code[i]);
	CHECK(answer(1) == 2);
	CHECK(STATE->owner == 0);
}

#define SPOILED(error, ...)                                                                        \
	do {                                                                                       \
		struct ulp_request *request = prepare();                                           \
		struct ulp_request_library *library = library_of(request);                         \
		(void)library;                                                                     \
		__VA_ARGS__;                                                                       \
		seal(request);                                                                     \
		fails_with(request, error);                                                        \
	} while (0)

int main(void)
{
	struct ulp_request *request = prepare();

	request->checksum++;
	fails_with(request, ULP_STALE_REQUEST);
	SPOILED(ULP_BAD_REQUEST, request->magic++);
	SPOILED(ULP_BAD_VERSION, request->abi_version++);
	SPOILED(ULP_BAD_REQUEST, request->operation = 7);
	SPOILED(ULP_BAD_REQUEST, request->patch_path = request->size);
	SPOILED(ULP_BAD_REQUEST, request->libraries = request->size - 8);
	SPOILED(ULP_BAD_REQUEST, request->library_count = 1u << 30);
	SPOILED(ULP_BAD_REQUEST, library->site_count = 1u << 30);
	SPOILED(ULP_BAD_REQUEST, library->sites = 4);
	SPOILED(ULP_BAD_REQUEST, library->replacement_count = 100000);
	SPOILED(ULP_BAD_REQUEST, library->text_end = library->text_start);
	SPOILED(ULP_LIBRARY_CHANGED, library->build_id[0]++);
	SPOILED(ULP_LIBRARY_CHANGED, library->base += 4096; library->text_start += 4096;
		library->text_end += 4096);
	SPOILED(ULP_PATCH_MISMATCH, request->patch_build_id[0]++);
	SPOILED(ULP_LOAD_FAILED, ((char *)request)[request->patch_path + 1]++);
	/* A site where there is no padding. */
	SPOILED(ULP_UNEXPECTED_CODE,
		((struct ulp_request_site *)((char *)request + library->sites))[0].function += 1);
	CHECK(STATE->patch_count == 0);
	CHECK(STATE->domain_count == 0 || STATE->domains[0].universe == 0);

	/* After all of that a good one still works. */
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer(1) == 1001);
	request = prepare();
	CHECK(send(request).error == ULP_ALREADY_APPLIED);
	return 0;
}
