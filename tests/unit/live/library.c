/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <unistd.h>

int increment(int value)
{
	return value + 1;
}

int answer(int value)
{
	return increment(value) * 10;
}

/* Blocks inside the library until a byte arrives. */
int answer_later(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		return -1;
	return answer(1);
}

/* Has the program work first. */
int answer_after(void (*work)(void))
{
	work();
	return answer(1);
}
