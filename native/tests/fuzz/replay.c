/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gives the inputs in the directories that are named to a fuzz target, each once: for compilers without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(const char *directory, const char *name)
{
	static uint8_t data[2u << 20];
	char path[4096];
	size_t size;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = fopen(path, "rb");
	CHECK(file != NULL);
	size = fread(data, 1, sizeof data, file);
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++) {
		DIR *directory = opendir(argv[i]);
		struct dirent *entry;

		CHECK(directory != NULL);
		while ((entry = readdir(directory)) != NULL)
			if (entry->d_name[0] != '.') {
				replay(argv[i], entry->d_name);
				count++;
			}
		closedir(directory);
	}
	printf("%u inputs\n", count);
	CHECK(count > 0);
	return 0;
}
