/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: functions that look at registers which no C function has a name for.
 */
#define NAME(name) name
#define VERSION    1
#include "implementation.h"

EXPORTED struct registers *recorded;
