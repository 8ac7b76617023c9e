/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The new wait_below_destructor has two objects: a cancelled thread shows which one it was in. */
#include "cancel.h"
#include "../shapes.h"

#include <unistd.h>

namespace
{
struct Counted {
	~Counted()
	{
		__atomic_fetch_add(&destroyed, 10, __ATOMIC_SEQ_CST);
	}
};
} // namespace

EXPORTED OPAQUE int version_new(void)
{
	return 2;
}

EXPORTED OPAQUE int cleanup_amount_new(void)
{
	return 100;
}

EXPORTED OPAQUE int wait_below_destructor_new(int fd, int *inside)
{
	Counted counted;
	char byte;

	__atomic_store_n(inside, 1, __ATOMIC_RELEASE);
	while (read(fd, &byte, 1) != 1)
		;
	return version();
}
