// SPDX-License-Identifier: GPL-3.0-or-later
#include "shape.hh"
extern "C" int other(int n)
{
	std::vector<int> values;
	for (int i = 0; i < n; i++)
		values.push_back(i * 7 % 13);
	try {
		return shapes::largest(values);
	} catch (const std::exception &) {
		return -7;
	}
}
