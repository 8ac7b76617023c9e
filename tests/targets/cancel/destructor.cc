/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cancel.h"
#include "../shapes.h"

#include <unistd.h>

extern "C" {
__attribute__((visibility("default"))) int destroyed;
}

namespace
{
struct Counted {
	~Counted()
	{
		__atomic_fetch_add(&destroyed, 1, __ATOMIC_SEQ_CST);
	}
};
} // namespace

extern "C" HIDDEN OPAQUE int wait_below_destructor(int fd, int *inside)
{
	Counted counted;
	char byte;

	__atomic_store_n(inside, 1, __ATOMIC_RELEASE);
	while (read(fd, &byte, 1) != 1)
		;
	return version();
}
