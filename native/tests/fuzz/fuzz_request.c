/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that anybody may have written: what is accepted lies inside its own copy, to the last
 * byte that anybody reads of it.
 *
 * Random bytes seldom have the right checksum, so an input is a request whose header is put right,
 * unless its first byte is odd.
 */
#include <stdlib.h>
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

static void read_library(const struct ulp_request *request,
			 const struct ulp_request_library *library)
{
	read_all(library, sizeof *library);
	read_all(library->build_id, library->build_id_size);
	read_all(ulp_request_string(request, library->name),
		 strlen(ulp_request_string(request, library->name)));
	read_all(ulp_request_sites(request, library),
		 library->site_count * sizeof(struct ulp_request_site));
	read_all(ulp_request_replacements(request, library),
		 library->replacement_count * sizeof(struct ulp_request_replacement));
	if (library->pun_count)
		read_all(ulp_request_puns(request, library),
			 library->pun_count * sizeof(struct ulp_request_pun));
	read_all(ulp_request_bodies(request, library),
		 library->body_count * sizeof(struct ulp_body));
	for (uint32_t i = 0; i < library->binding_count; i++) {
		const struct ulp_request_binding *binding =
			&ulp_request_bindings(request, library)[i];

		read_all(binding, sizeof *binding);
		read_all(ulp_request_string(request, binding->name),
			 strlen(ulp_request_string(request, binding->name)));
		read_all(ulp_request_string(request, binding->version),
			 strlen(ulp_request_string(request, binding->version)));
	}
}

static void read_request(const struct ulp_request *request)
{
	read_all(request->patch_build_id, request->patch_build_id_size);
	read_all(ulp_request_string(request, request->patch_path),
		 strlen(ulp_request_string(request, request->patch_path)));
	read_all(ulp_request_string(request, request->patch_name),
		 strlen(ulp_request_string(request, request->patch_name)));
	read_all(ulp_request_excepted(request), request->excepted_count * sizeof(uint32_t));
	for (uint32_t i = 0; i < request->replaced_count; i++)
		read_all(ulp_request_replaced(request, i), ULP_PATCH_ID_SIZE);
	for (uint32_t i = 0; i < request->library_count; i++)
		read_library(request, &ulp_request_libraries(request)[i]);
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
	struct ulp_request *request = NULL;

	if (size < 1 || size - 1 > sizeof ulp_request_buffer)
		return 0;
	memcpy(ulp_request_buffer, data + 1, size - 1);
	if (data[0] % 2 == 0 && size - 1 >= sizeof *request)
		put_right((struct ulp_request *)ulp_request_buffer, size - 1);
	if (ulp_request_take(NONCE, &request) == ULP_OK) {
		read_request(request);
		free(request);
	}
	return 0;
}
