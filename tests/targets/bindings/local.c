/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* As app.c, but the library is loaded where nobody else sees its names, and nothing of it is copied. */
#define LOADED_LOCALLY 1
#include "app.c"
