/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time, without the C library. */
#ifndef ULP_CLOCK_H
#define ULP_CLOCK_H

#include <stdint.h>

/* Call once, at start, after ulp_images_learn(). */
void ulp_clock_learn(void);

/* Nanoseconds of CLOCK_*. */
uint64_t ulp_clock_ns(int clock);

#endif
