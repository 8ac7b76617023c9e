/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Built with -DVERSION=N. What it calls of the program's is found there: it was linked with -rdynamic. */
#include "../shapes.h"

int version(void);
int finish(void (*callback)(void));
__attribute__((noreturn)) void leave(void (*callback)(void), int *within);
int left(void);
int right(void);

EXPORTED OPAQUE int patched_version(void)
{
	return unknown(VERSION);
}

EXPORTED OPAQUE int patched_around(void (*callback)(void))
{
	callback();
	return unknown(version());
}

EXPORTED OPAQUE int patched_moved(int often, void (*callback)(void))
{
	if (!often)
		callback();
	return unknown(version());
}

EXPORTED OPAQUE int patched_jump(void (*callback)(void))
{
	unknown(version());
	return finish(callback);
}

EXPORTED OPAQUE int patched_late(void (*callback)(void))
{
	callback();
	return unknown(version());
}

EXPORTED OPAQUE void patched_last(void (*callback)(void), int *within)
{
	leave(callback, within);
}

EXPORTED OPAQUE int patched_left(void)
{
	return unknown(VERSION);
}

EXPORTED OPAQUE int patched_right(void)
{
	return unknown(VERSION);
}

EXPORTED OPAQUE int patched_both(void)
{
	int first = left();

	for (volatile int i = 0; i < 200; i++)
		;
	return 10 * first + right();
}
