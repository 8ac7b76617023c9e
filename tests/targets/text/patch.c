/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One replacement serves all: none has an argument that matters. */
#include "../shapes.h"

EXPORTED OPAQUE int new_version(void)
{
	return 2;
}
