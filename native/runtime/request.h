/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests as they come in: bytes that anybody may have written. */
#ifndef ULP_REQUEST_H
#define ULP_REQUEST_H

#include <ulp/abi.h>

/*
 * Copies the request out of the buffer and checks it: size, checksum, nonce, and that
 * every table and string lies inside.  On ULP_OK `*copy` is to be given to free().
 */
enum ulp_error ulp_request_take(uint64_t nonce, struct ulp_request **copy);

const struct ulp_request_library *ulp_request_libraries(const struct ulp_request *request);
const struct ulp_request_site *ulp_request_sites(const struct ulp_request *request,
						 const struct ulp_request_library *library);
const struct ulp_request_replacement *
ulp_request_replacements(const struct ulp_request *request,
			 const struct ulp_request_library *library);
const struct ulp_request_pun *ulp_request_puns(const struct ulp_request *request,
					       const struct ulp_request_library *library);
const struct ulp_body *ulp_request_bodies(const struct ulp_request *request,
					  const struct ulp_request_library *library);
const struct ulp_request_binding *ulp_request_bindings(const struct ulp_request *request,
						       const struct ulp_request_library *library);
/* The ID, ULP_PATCH_ID_SIZE bytes, of a patch that is to be taken back as well. */
const uint8_t *ulp_request_replaced(const struct ulp_request *request, uint32_t index);
const uint32_t *ulp_request_excepted(const struct ulp_request *request);
const char *ulp_request_string(const struct ulp_request *request, uint32_t offset);

#endif
