/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shape: a function before which no byte is mapped executable. */
#include "edges.h"
#include "../shapes.h"

EXPORTED OPAQUE int first(void)
{
	return unknown(1);
}
