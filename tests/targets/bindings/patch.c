/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the description's lines with # fill in; nothing else does. */
#include <stddef.h>

#include "../shapes.h"

/* By which one livepatch is told from another. */
#ifndef MORE
#define MORE 0
#endif

int *copied_word, *hidden_word;
static int (*volatile interposed_word)(void), (*volatile hidden_function_word)(void);
size_t per_thread_index[2], static_per_thread_index[2];
int new_sum(void);
void *__tls_get_addr(size_t *index);

EXPORTED OPAQUE int new_sum(void)
{
	int *per_thread = __tls_get_addr(per_thread_index);
	int *static_per_thread = __tls_get_addr(static_per_thread_index);

	++*copied_word;
	++*hidden_word;
	++*per_thread;
	++*static_per_thread;
	return -(*copied_word + *hidden_word + *per_thread + *static_per_thread +
		 interposed_word() + hidden_function_word() + MORE);
}
