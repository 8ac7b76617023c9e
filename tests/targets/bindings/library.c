/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bindings.h"
#include "../shapes.h"

EXPORTED int copied = 1;
static volatile int hidden = 20;
EXPORTED __thread int per_thread = 300;
static __thread volatile int static_per_thread = 4000;

EXPORTED OPAQUE int interposed(void)
{
	return unknown(50000);
}

static OPAQUE int hidden_function(void)
{
	return unknown(700000);
}

EXPORTED OPAQUE int sum(void)
{
	return copied + hidden + per_thread + static_per_thread + interposed() + hidden_function();
}
