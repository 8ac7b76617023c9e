/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Thrown in new code, through old code. */
#include "exceptions.h"
#include "../shapes.h"

#include <stdexcept>

EXPORTED OPAQUE int inner_new(int number)
{
	FrameObject object;
	FrameObject another;

	if (number >= 0)
		throw std::runtime_error("2");
	return number;
}
