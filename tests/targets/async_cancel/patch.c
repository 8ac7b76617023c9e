/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "../shapes.h"

EXPORTED OPAQUE int version_new(void)
{
	return unknown(2);
}
