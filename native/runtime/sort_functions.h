/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions of the C library that call the program back and hold no lock meanwhile: those of qsort() and bsearch(). */
#ifndef ULP_SORT_FUNCTIONS_H
#define ULP_SORT_FUNCTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether `function`, the address at which a function starts, is one of them. Learns them when first asked. */
bool ulp_sorts(uint64_t function);

#endif
