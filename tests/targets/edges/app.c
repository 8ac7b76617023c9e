/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   all   -> the results of first, last and both
 */
#include "../victim.h"
#include "edges.h"

static void run_all(char **arguments)
{
	(void)arguments;
	answer("%d %d %d", first(), last(), both());
}

int main(void)
{
	static const struct victim_command commands[] = {{"all", run_all}, {NULL, NULL}};

	return serve(commands);
}
