/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "../shapes.h"

EXPORTED OPAQUE int patched_hidden_version(void)
{
	return 2;
}

EXPORTED OPAQUE int patched_far_version(void)
{
	return 2;
}
