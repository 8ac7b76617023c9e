// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// A picture with transparency is compressed and comes back, and whichever allocation fails, the
// program goes on. Without the fix, it frees memory twice.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/encode.h>

#define SIDE 40

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);

// Which allocation fails, counted down; 0: none.
static int failing;

static int fails(void)
{
	return failing > 0 && --failing == 0;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

static uint8_t pixels[SIDE * SIDE * 4];

static int is_same(const WebPMemoryWriter *writer)
{
	int width, height, i, same;
	uint8_t *back = WebPDecodeRGBA(writer->mem, writer->size, &width, &height);

	same = back != NULL && width == SIDE && height == SIDE;
	// Transparency is kept as it is, and colours about.
	for (i = 0; same && i < SIDE * SIDE; i++)
		same = back[4 * i + 3] == pixels[4 * i + 3] &&
		       abs(back[4 * i] - pixels[4 * i]) < 60;
	WebPFree(back);
	return same;
}

int main(void)
{
	int n, i, best, encoded = 0;

	for (i = 0; i < SIDE * SIDE; i++) {
		pixels[4 * i] = pixels[4 * i + 1] = pixels[4 * i + 2] =
			(uint8_t)(2 * (i / SIDE) + i % SIDE);
		pixels[4 * i + 3] = (uint8_t)(128 + (i % SIDE) * (i / SIDE) % 120);
	}
	for (best = 0; best < 2; best++)
		for (n = 1; n < 2000; n++) {
			WebPConfig config;
			WebPPicture picture;
			WebPMemoryWriter writer;

			if (!WebPConfigInit(&config) || !WebPPictureInit(&picture))
				return 2;
			config.alpha_filtering = best ? 2 : 1;
			config.exact = 1;
			config.method = best ? 4 : 0;
			picture.width = picture.height = SIDE;
			if (!WebPPictureImportRGBA(&picture, pixels, 4 * SIDE))
				return 3;
			WebPMemoryWriterInit(&writer);
			picture.writer = WebPMemoryWrite;
			picture.custom_ptr = &writer;
			failing = n;
			encoded = WebPEncode(&config, &picture);
			i = failing;
			failing = 0;
			if (i > 0 && encoded && !is_same(&writer))
				return 4;
			WebPMemoryWriterClear(&writer);
			WebPPictureFree(&picture);
			if (i > 0)
				break;
		}
	printf("%d allocations\n", n - 1);
	return !encoded || n < 10;
}
