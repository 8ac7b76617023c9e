/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the runtime keeps of a function that is hooked by a pun. */
#ifndef ULP_SITE_PUN_H
#define ULP_SITE_PUN_H

#include "arch.h"

struct ulp_pun {
	const struct ulp_request_pun
		*offered; /* by the request; the best first, and only while it is served */
	uint32_t offered_count;
	struct ulp_code_pun code;                  /* of the one that was chosen */
	unsigned written;                          /* bytes at the site that one store changes */
	unsigned char gap_original[ULP_JUMP_SIZE]; /* what stood in the gap, if there is one */
	uint32_t size; /* bytes of the function, and their checksum where nothing is hooked */
	uint32_t checksum;
};

#endif
