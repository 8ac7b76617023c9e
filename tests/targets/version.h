/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands of a victim that is patched in version(): what the main thread gets, and what a new one gets. */
#ifndef VERSION_H
#define VERSION_H

#include "victim.h"

int version(void);

static inline void run_version(char **arguments)
{
	(void)arguments;
	answer("%d", version());
}

static inline void *see_version(void *seen)
{
	*(int *)seen = version();
	return NULL;
}

static inline void run_fresh(char **arguments)
{
	int seen;

	(void)arguments;
	join_thread(start_thread(see_version, &seen));
	answer("%d", seen);
}

#endif
