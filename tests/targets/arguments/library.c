/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shape: every register and memory area that carries an argument or a result is live. */
#define NAME(name) name
#define FACTOR     1
#include "implementation.h"
