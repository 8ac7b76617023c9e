/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Maps a file, puts a FIFO in its place, and changes the bounds of the mapping for ever: whoever has
 * read the map looks for bounds that are no more, and then at the path.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	PAGES = 3
};

int main(int count, char **words)
{
	const int code = PROT_READ | PROT_EXEC;
	char *map;
	int file;

	if (count != 2)
		return 2;
	file = open(words[1], O_RDONLY);
	map = mmap(NULL, (size_t)PAGES * PAGE, code, MAP_PRIVATE, file, PAGE);
	if (map == MAP_FAILED || close(file) || unlink(words[1]) || mkfifo(words[1], 0666))
		return 1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		mprotect(map + PAGE, PAGE, PROT_READ);
		mprotect(map + PAGE, PAGE, code);
	}
}
