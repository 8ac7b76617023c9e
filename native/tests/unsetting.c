/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A library whose constructor, which runs before the runtime's, takes variables from the environment. */
#include <stdlib.h>

__attribute__((constructor)) static void unset(void)
{
	unsetenv("UNSET_FIRST");
	unsetenv("UNSET_SECOND");
}
