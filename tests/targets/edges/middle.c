/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "edges.h"
#include "../shapes.h"

EXPORTED OPAQUE int both(void)
{
	return 10 * first() + last();
}
