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

static struct ulp_request *prepare_two(void)
{
	static const struct pair two[] = {
		{answer, "new_answer"}, {twice, "newest_answer"}, {NULL, NULL}};

	return prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, two);
}

static struct ulp_request_library *library_of(struct ulp_request *request)
{
	return (void *)((char *)request + request->libraries);
}

/* Right behind the padding at the entry of the last site. */
static uint64_t end_of_sites(struct ulp_request *request)
{
	const struct ulp_request_library *library = library_of(request);
	const struct ulp_request_site *site = (void *)((char *)request + library->sites);

	return library->base + site[library->site_count - 1].function + (TARGET_ENDBR ? 4 : 0) +
	       ULP_PAD_ENTRY;
}

static struct ulp_request_replacement *replacements_of(struct ulp_request *request)
{
	return (void *)((char *)request + library_of(request)->replacements);
}

/* A second table of libraries, with the first one's only entry twice. */
static void name_library_twice(struct ulp_request *request)
{
	uint32_t libraries = (request->size + 7) & ~7u;
	struct ulp_request_library *table = (void *)((char *)request + libraries);

	table[0] = table[1] = *library_of(request);
	table[1].replacement_count = 0;
	request->libraries = libraries;
	request->library_count = 2;
	request->size = libraries + 2 * sizeof *table;
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

#define SPOILED(error, ...) SPOILED_ONE(prepare(), error, __VA_ARGS__)
#define SPOILED_ONE(prepared, error, ...)                                                          \
	do {                                                                                       \
		struct ulp_request *request = prepared;                                            \
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
	/* The text may end right behind the padding of an entry, as with mold; but it ends elsewhere. */
	SPOILED(ULP_BAD_REQUEST, library->text_end = end_of_sites(request) - 1);
	SPOILED(ULP_LIBRARY_CHANGED, library->text_end = end_of_sites(request));
	SPOILED(ULP_LIBRARY_CHANGED, library->build_id[0]++);
	SPOILED(ULP_LIBRARY_CHANGED, library->base += 4096; library->text_start += 4096;
		library->text_end += 4096);
	SPOILED(ULP_PATCH_MISMATCH, request->patch_build_id[0]++);
	SPOILED(ULP_LOAD_FAILED, ((char *)request)[request->patch_path + 1]++);
	SPOILED(ULP_BAD_REQUEST, library->trm = 0x1000);
	SPOILED(ULP_BAD_REQUEST, library->trm = library->text_end + (1u << 30));
	/* A site where there is no padding. */
	SPOILED(ULP_UNEXPECTED_CODE,
		((struct ulp_request_site *)((char *)request + library->sites))[0].function += 1);
	SPOILED_ONE(prepare_two(), ULP_BAD_REQUEST,
		    replacements_of(request)[1] = replacements_of(request)[0]);
	SPOILED(ULP_BAD_REQUEST, name_library_twice(request));
	SPOILED(ULP_BAD_REQUEST, replacements_of(request)->replacement = 1ull << 32);
	CHECK(STATE->patch_count == 0);
	CHECK(STATE->domain_count == 0 || STATE->domains[0].universe == 0);

	/* After all of that a good one still works. */
	apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	CHECK(answer(1) == 1001);
	request = prepare();
	CHECK(send(request).error == ULP_ALREADY_APPLIED);

	/* Nor does a library, or a patch, that is known already make a request right. */
	revert(1);
	SPOILED(ULP_LIBRARY_CHANGED, library->text_end = UINT64_MAX);
	SPOILED(ULP_BAD_REQUEST, replacements_of(request)->replacement = 1ull << 32);
	CHECK(STATE->domains[0].universe == 2);
	return 0;
}
