/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A plugin that needs the library, and has a function which takes the place of the library's. */
#include "bindings.h"
#include "../shapes.h"

int plugin_sum(void);

EXPORTED OPAQUE int interposed(void)
{
	return unknown(60000);
}

EXPORTED OPAQUE int plugin_sum(void)
{
	return sum();
}
