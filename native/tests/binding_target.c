/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "binding_target.h"

int copied = 1;
static int hidden = 20;
__thread int per_thread = 300;

int interposed(void)
{
	return 4000;
}

static __attribute__((noinline)) int hidden_function(void)
{
	return 60000 + hidden - hidden;
}

const void *hidden_variable_address(void)
{
	return &hidden;
}

const void *hidden_function_address(void)
{
	return (const void *)hidden_function;
}

int sum(void)
{
	return copied + hidden + per_thread + interposed() + hidden_function();
}
