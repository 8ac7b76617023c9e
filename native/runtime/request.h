/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests as they come in: bytes that anybody may have written. */
#ifndef ULP_REQUEST_H
#define ULP_REQUEST_H

#include <ulp/abi.h>

/* One library of a request; its tables have as many entries as `said` says. */
struct ulp_taken_library {
	const struct ulp_request_library *said;
	const char *name;
	const struct ulp_request_site *sites;
	const struct ulp_request_replacement *replacements;
	const struct ulp_request_pun *puns;
	const struct ulp_body *bodies;
	const struct ulp_request_binding *bindings;
};

/* A request that was copied and checked, with what its offsets lead to. */
struct ulp_taken {
	const struct ulp_request *request;
	const char *patch_path;
	const char *patch_name;
	/* The IDs, of patches that are to be taken back as well. */
	const uint8_t (*replaced)[ULP_PATCH_ID_SIZE];
	const uint32_t *excepted;
	struct ulp_taken_library libraries[]; /* request->library_count */
};

/*
 * Copies the request out of the buffer and checks it: size, checksum, nonce, and that
 * every table and string lies inside.  On ULP_OK `*taken` is to be given to ulp_request_discard().
 */
enum ulp_error ulp_request_take(uint64_t nonce, struct ulp_taken **taken);

void ulp_request_discard(struct ulp_taken *taken);

/* A string that an entry of a table names by its offset. */
const char *ulp_request_string(const struct ulp_taken *taken, uint32_t offset);

#endif
