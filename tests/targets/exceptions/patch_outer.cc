/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Thrown in whatever inner is, through new code, which rethrows. */
#include "exceptions.h"
#include "../shapes.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

EXPORTED OPAQUE int outer_new(int number)
{
	FrameObject object;

	try {
		return inner(number) + 1;
	} catch (const std::runtime_error &error) {
		throw std::runtime_error(std::to_string(std::atoi(error.what()) + 10));
	}
}
