/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "../shapes.h"

EXPORTED OPAQUE int new_version(void)
{
	return 1000;
}
