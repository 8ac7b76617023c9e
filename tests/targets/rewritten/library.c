/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* On two pages, so that a part of it can be somewhere else. */
#include "../shapes.h"

OPAQUE HIDDEN int hidden_version(void)
{
	return unknown(1);
}

EXPORTED OPAQUE int version(void)
{
	return hidden_version();
}

EXPORTED OPAQUE __attribute__((aligned(4096))) int far_version(void)
{
	return unknown(1);
}
