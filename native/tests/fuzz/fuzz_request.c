/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that anybody may have written: what is accepted lies inside its own copy, to the last
 * byte that anybody reads of it.
 *
 * Random bytes seldom have the right checksum, so an input is a request whose header is put right,
 * unless its first byte is odd.
 */
#include <string.h>

#include "runtime/checksum.h"
#include "runtime/request.h"
#include "runtime/state.h"

#define NONCE 4711

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

unsigned char ulp_request_buffer[ULP_REQUEST_CAPACITY] __attribute__((aligned(64)));

static volatile uint64_t seen;

static void read_all(const void *memory, size_t size)
{
	for (size_t i = 0; i < size; i++)
		seen += ((const unsigned char *)memory)[i];
}

static void read_string(const char *text)
{
	read_all(text, strlen(text));
}

static void read_library(const struct ulp_taken *taken, const struct ulp_taken_library *library)
{
	const struct ulp_request_library *said = library->said;

	read_all(said, sizeof *said);
	read_all(said->build_id, said->build_id_size);
	read_string(library->name);
	read_all(library->sites, said->site_count * sizeof *library->sites);
	read_all(library->replacements, said->replacement_count * sizeof *library->replacements);
	if (said->pun_count)
		read_all(library->puns, said->pun_count * sizeof *library->puns);
	read_all(library->bodies, said->body_count * sizeof *library->bodies);
	for (uint32_t i = 0; i < said->binding_count; i++) {
		read_all(&library->bindings[i], sizeof library->bindings[i]);
		read_string(ulp_request_string(taken, library->bindings[i].name));
		read_string(ulp_request_string(taken, library->bindings[i].version));
	}
}

static void read_request(const struct ulp_taken *taken)
{
	const struct ulp_request *request = taken->request;

	read_all(request->patch_build_id, request->patch_build_id_size);
	read_string(taken->patch_path);
	read_string(taken->patch_name);
	read_all(taken->excepted, request->excepted_count * sizeof *taken->excepted);
	read_all(taken->replaced, request->replaced_count * sizeof *taken->replaced);
	for (uint32_t i = 0; i < request->library_count; i++)
		read_library(taken, &taken->libraries[i]);
}

static void put_right(struct ulp_request *request, size_t size)
{
	request->magic = ULP_REQUEST_MAGIC;
	request->abi_version = ULP_ABI_VERSION;
	request->size = (uint32_t)size;
	request->nonce = NONCE;
	request->checksum = ulp_checksum(request + 1, size - sizeof *request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ulp_taken *taken = NULL;

	if (size < 1 || size - 1 > sizeof ulp_request_buffer)
		return 0;
	memcpy(ulp_request_buffer, data + 1, size - 1);
	if (data[0] % 2 == 0 && size - 1 >= sizeof(struct ulp_request))
		put_right((struct ulp_request *)ulp_request_buffer, size - 1);
	if (ulp_request_take(NONCE, &taken) == ULP_OK) {
		read_request(taken);
		ulp_request_discard(taken);
	}
	return 0;
}
