/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Built with -DVERSION=N: patch N of the stack. */
#include "../shapes.h"

EXPORTED OPAQUE int patched_version(void)
{
	return VERSION;
}

EXPORTED OPAQUE int patched_hidden_version(void)
{
	return VERSION;
}

EXPORTED OPAQUE int patched_pointed_version(void)
{
	return VERSION;
}
