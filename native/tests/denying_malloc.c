/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An allocator outside of the program, which fails once. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);

/* So many more are granted, then one is not; negative: all are. */
int granted = -1;

static bool is_denied(void)
{
	return __atomic_load_n(&granted, __ATOMIC_SEQ_CST) >= 0 &&
	       __atomic_fetch_sub(&granted, 1, __ATOMIC_SEQ_CST) == 0;
}

void *malloc(size_t size)
{
	if (!is_denied())
		return __libc_malloc(size);
	errno = ENOMEM;
	return NULL;
}

void *calloc(size_t count, size_t size)
{
	if (!is_denied())
		return __libc_calloc(count, size);
	errno = ENOMEM;
	return NULL;
}
