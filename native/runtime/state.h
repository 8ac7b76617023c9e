/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state block: what a reader outside the process sees. */
#ifndef ULP_STATE_H
#define ULP_STATE_H

#include <stdbool.h>

#include <ulp/abi.h>

extern struct ulp_state ulp_state;

/* A request buffer that any injector may write; what is in it is believed only after a check. */
#define ULP_REQUEST_CAPACITY (1u << 20)
extern unsigned char ulp_request_buffer[ULP_REQUEST_CAPACITY];

/* What a thread that answers a request found; see struct ulp_result. */
struct ulp_result *ulp_result_open(uint64_t nonce);
/* Makes the result visible as finished; the stage is written last. */
void ulp_result_close(struct ulp_result *result, enum ulp_stage stage, enum ulp_error error);

/* The worker brackets every change of domains, libraries and patches with these. */
void ulp_state_begin_change(void);
void ulp_state_end_change(void);

/* Indices into ulp_state.patches and ulp_state.libraries; ULP_NONE if there is no such. */
#define ULP_NONE UINT32_MAX
uint32_t ulp_state_find_patch(const uint8_t *id);
uint32_t ulp_state_find_library(uint64_t base);

#endif
