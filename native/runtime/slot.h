/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slots: the words that the jumps in the padding go through. */
#ifndef ULP_SLOT_H
#define ULP_SLOT_H

#include <stdint.h>

#include <ulp/abi.h>

/* Memory, zeroed, for `count` slots within reach of all of the library's text, or NULL. */
uint64_t *ulp_slots_map(const struct ulp_library *library, uint32_t count);
/* Gives such memory back, when nothing leads to it. */
void ulp_slots_unmap(uint64_t *slots, uint32_t count);

#endif
