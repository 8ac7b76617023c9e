/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shape: C++ functions that throw, let pass, catch, and whose frames hold
 * objects with destructors.
 */
#include "exceptions.h"
#include "../shapes.h"

#include <cstdlib>
#include <stdexcept>

extern "C" {
__attribute__((visibility("default"))) int objects_made;
__attribute__((visibility("default"))) int objects_destroyed;
}

EXPORTED OPAQUE int inner(int number)
{
	FrameObject object;

	if (number >= 0)
		throw std::runtime_error("1");
	return number;
}

EXPORTED OPAQUE int outer(int number)
{
	FrameObject object;

	return inner(number) + 1;
}

EXPORTED OPAQUE int around(int (*callback)(void *), void *argument)
{
	FrameObject object;

	return callback(argument) + 1;
}

EXPORTED OPAQUE int catching(int number)
{
	FrameObject object;

	try {
		return outer(number);
	} catch (const std::runtime_error &error) {
		return std::atoi(error.what());
	}
}
