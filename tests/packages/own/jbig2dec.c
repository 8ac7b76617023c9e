// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// Decodes a JBIG2 file, and prints a sum of each page. With an argument more, decodes it again and
// again, each time with another allocation failing while a pattern dictionary is read, of which
// nothing may be left behind. argv[1]: the file.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jbig2.h"

// Which allocation fails, counted down in pattern dictionaries; 0: none. How many pieces of memory
// are in use.
static int failing, left, in_dictionary;

static int fails(void)
{
	return in_dictionary && failing > 0 && --failing == 0;
}

static void *get(Jbig2Allocator *allocator, size_t size)
{
	void *memory = fails() ? NULL : malloc(size);

	(void)allocator;
	left += memory != NULL;
	return memory;
}

static void give(Jbig2Allocator *allocator, void *memory)
{
	(void)allocator;
	left -= memory != NULL;
	free(memory);
}

static void *get_more(Jbig2Allocator *allocator, void *memory, size_t size)
{
	(void)allocator;
	if (fails())
		return NULL;
	left += memory == NULL;
	return realloc(memory, size);
}

static void says(void *data, const char *message, Jbig2Severity severity, uint32_t segment)
{
	(void)data;
	(void)severity;
	(void)segment;
	if (strstr(message, "pattern dictionary, flags=") != NULL)
		in_dictionary = 1;
	else if (strncmp(message, "segment ", 8) == 0)
		in_dictionary = 0;
}

static unsigned char text[1 << 20];
static size_t size;

// Whether all allocations went well.
static int decode(int n)
{
	Jbig2Allocator allocator = {get, give, get_more};
	Jbig2Ctx *context;
	Jbig2Image *page;

	failing = n;
	left = 0;
	in_dictionary = 0;
	context = jbig2_ctx_new(&allocator, 0, NULL, says, NULL);
	if (context == NULL)
		exit(2);
	jbig2_data_in(context, text, size);
	while ((page = jbig2_page_out(context)) != NULL) {
		unsigned long sum = 0;
		uint32_t i;

		for (i = 0; i < page->stride * page->height; i++)
			sum = sum * 31 + page->data[i];
		if (n == 0)
			printf("%u x %u: %lx\n", page->width, page->height, sum);
		jbig2_release_page(context, page);
	}
	jbig2_ctx_free(context);
	return n == 0 || failing > 0;
}

int main(int argc, char **argv)
{
	FILE *stream = argc > 1 ? fopen(argv[1], "rb") : NULL;
	int n, all, wrong = 0;

	if (stream == NULL)
		return 2;
	size = fread(text, 1, sizeof(text), stream);
	fclose(stream);
	decode(0);
	if (argc < 3)
		return left != 0;
	for (n = 1; !wrong; n++) {
		all = decode(n);
		if (left > 0) {
			printf("allocation %d fails: %d left\n", n, left);
			wrong = 1;
		}
		if (all)
			break;
	}
	printf("%d allocations\n", n - 1);
	return wrong || n < 4;
}
