// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// Reading more than there is, up to sizes whose sum with the position overflows, reads what is left.
#include <cstring>
#include <ebml/MemIOCallback.h>

int main()
{
	for (size_t size : {size_t(3), size_t(4), size_t(1000), ~size_t(1), ~size_t(0)}) {
		libebml::MemIOCallback memory;
		char buffer[16] = {};

		memory.write("hello", 5);
		memory.setFilePointer(2);
		if (memory.read(buffer, size) != 3 || std::strcmp(buffer, "llo") != 0 ||
		    memory.getFilePointer() != 5)
			return 1;
	}
	return 0;
}
