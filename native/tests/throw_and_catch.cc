// SPDX-License-Identifier: LGPL-2.1-or-later
// For test_frames.c: an exception on its way through frames that clean up.
#include <stdexcept>
#include <string>

extern "C" void throw_and_catch();

namespace {

struct Guard {
	std::string name{"long enough not to lie in the object itself"};
	~Guard() { name.clear(); }
};

__attribute__((noinline)) int deeper(int depth)
{
	Guard guard;

	if (depth == 0)
		throw std::runtime_error(guard.name);
	return deeper(depth - 1) + static_cast<int>(guard.name.size());
}

} // namespace

void throw_and_catch()
{
	try {
		deeper(4);
	} catch (const std::runtime_error &) {
	}
}
