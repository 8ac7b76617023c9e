/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <link.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include "system_call.h"
#include "runtime/image_table.h"
#include "runtime/namespace.h"

/* As many as the loader has (DL_NNS of glibc); those that auditors are in it refuses. */
#define NAMESPACES 16
/* While another thread loads something nothing can be read; so often, and so long, nanoseconds. */
#define TRIES    100
#define PAUSE_NS 1000000

/* There is one worker at a time. */
static char name[PATH_MAX];

static bool find_name(uint64_t base, uint64_t *named)
{
	const struct timespec pause = {0, PAUSE_NS};
	bool settled = false;

	for (int i = 0; i < TRIES; i++) {
		if (ulp_images_name(base, named, name, sizeof name, &settled))
			return true;
		if (settled)
			return false;
		ulp_system_call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return false;
}

static uint64_t base_of(void *handle)
{
	struct link_map *map = NULL;

	return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 ? map->l_addr : UINT64_MAX;
}

/* The name was read without the loader's lock.  RTLD_NOLOAD takes that, so what it finds is there. */
static void *open_named(uint64_t base, Lmid_t *space)
{
	for (Lmid_t each = LM_ID_BASE + 1; each < NAMESPACES; each++) {
		void *handle = dlmopen(each, name, RTLD_LAZY | RTLD_NOLOAD);

		if (handle && base_of(handle) == base) {
			*space = each;
			return handle;
		}
		if (handle)
			dlclose(handle);
	}
	/* It keeps words for whoever asks next. */
	(void)dlerror();
	return NULL;
}

void *ulp_namespace_open(uint64_t base, Lmid_t *space)
{
	return find_name(base, NULL) ? open_named(base, space) : NULL;
}

void *ulp_namespace_open_first(uint64_t base, Lmid_t *space)
{
	uint64_t first = 0;

	return find_name(base, &first) ? open_named(first, space) : NULL;
}
