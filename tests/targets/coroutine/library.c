/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shape: a library that calls the application back, where it may switch to another stack. */
#include "../shapes.h"

EXPORTED OPAQUE int version(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int around(void (*callback)(void))
{
	int before = version();

	callback();
	return 10 * before + version();
}
