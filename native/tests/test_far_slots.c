/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Below the library everything is taken for gigabytes, as by a database's cache: slots go above. */
#include <sys/mman.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};

#define CACHE (8ull << 30)
#define GAPS  60000

static void *map(size_t size, int protection)
{
	return mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int main(void)
{
	struct ulp_request *request = prepare_apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
	struct ulp_result result;
	void *page;

	CHECK(map(CACHE, PROT_NONE) != MAP_FAILED);
	/* Every gap between the libraries; two kinds of pages, so that they make no one mapping. */
	for (int i = 0; i < GAPS; i++) {
		page = map(4096, i & 1 ? PROT_READ : PROT_NONE);
		CHECK(page != MAP_FAILED);
		if ((uint64_t)page < (uint64_t)answer - CACHE / 2)
			break;
	}
	result = send(request);
	if (result.stage != ULP_STAGE_DONE)
		fprintf(stderr, "error %d, %s\n", result.error, result.detail);
	CHECK(result.stage == ULP_STAGE_DONE);
	CHECK(answer(1) == 1001);
	return 0;
}
