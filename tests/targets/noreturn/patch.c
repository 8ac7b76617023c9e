/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Built with -DVERSION=N. */
#include "../shapes.h"

EXPORTED OPAQUE int version_new(void)
{
	return unknown(VERSION);
}
