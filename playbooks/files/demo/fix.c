/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The patch library: right versions of one function of each of the two libraries. */
#include <stdio.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED long quote_cents_fixed(const char *item, long quantity)
{
	if (!strcmp(item, "tea"))
		return 101 * quantity;
	if (!strcmp(item, "coffee"))
		return 349 * quantity;
	if (!strcmp(item, "cake"))
		return 405 * quantity;
	return -1;
}

EXPORTED int tally_format_fixed(char *text, size_t size, long cents)
{
	return snprintf(text, size, "%ld.%02ld", cents / 100, cents % 100);
}
