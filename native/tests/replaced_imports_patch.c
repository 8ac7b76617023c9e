/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "replaced_imports.h"

#define NEW(name)                                                                                  \
	any_function new_##name;                                                                   \
	DEFINE(new_##name, 1, #name)

EVERY_NAME(NEW)

int new_which_version(void);

int new_which_version(void)
{
	return 2;
}
