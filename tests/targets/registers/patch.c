/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define NAME(name) name##_new
#define VERSION    2
#include "implementation.h"
