/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A library that programs load and unload; SIZE makes two of them differ. */
static char memory[SIZE];

int through(int (*function)(int), int argument);

int through(int (*function)(int), int argument)
{
	memory[argument] = 1;
	return function(argument) + memory[argument] - 1;
}
