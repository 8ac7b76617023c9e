/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QUOTE_H
#define QUOTE_H

/* The price of so many pieces of an item in cents, or -1 when there is no such item. */
long quote_cents(const char *item, long quantity);

#endif
