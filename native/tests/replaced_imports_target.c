/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A library that the whole process calls instead of the C library. */
#include "replaced_imports.h"

unsigned long version_calls[2];

void *dlsym(void *handle, const char *name);
any_function __libc_malloc, __libc_calloc, __libc_free;

static int same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* The loader allocates while it looks a name up. */
any_function *next_function(const char *name)
{
	if (same(name, "malloc"))
		return __libc_malloc;
	if (same(name, "calloc"))
		return __libc_calloc;
	if (same(name, "free"))
		return __libc_free;
	return (any_function *)dlsym((void *)-1l /* RTLD_NEXT */, name);
}

#define OLD(name)                                                                                  \
	any_function name;                                                                         \
	DEFINE(name, 0, #name)

EVERY_NAME(OLD)

int which_version(void)
{
	return 1;
}
