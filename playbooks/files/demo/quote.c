/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libquote.so, with a bug: it drops the last digit of every price. */
#include "quote.h"

#include <string.h>

static const struct {
	const char *item;
	long cents;
} prices[] = {{"tea", 101}, {"coffee", 349}, {"cake", 405}};

static long price_of(const char *item)
{
	for (unsigned i = 0; i < sizeof(prices) / sizeof(*prices); i++)
		if (!strcmp(prices[i].item, item))
			return prices[i].cents;
	return -1;
}

long quote_cents(const char *item, long quantity)
{
	long cents = price_of(item);

	return cents < 0 ? -1 : cents / 10 * 10 * quantity;
}
