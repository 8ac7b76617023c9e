/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Built with -DVERSION=N.  One livepatch replaces both functions, or two livepatches one each. */
#include "../shapes.h"

EXPORTED OPAQUE int upper_version_new(void)
{
	return VERSION;
}

EXPORTED OPAQUE int lower_version_new(void)
{
	return VERSION;
}
