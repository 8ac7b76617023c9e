/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>

/* Writes an amount as euros and cents. */
int tally_format(char *text, size_t size, long cents);

/* Counts a request, and returns how many there were. */
unsigned long tally_count(void);

#endif
