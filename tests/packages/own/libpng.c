// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What libpng's fixes are for, with an allocator that spoils what it frees: without the livepatch that fails.
// The argument is the fix.
#include <malloc.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

enum {
	SIDE = 32,
	GUARD = 8192
};

static unsigned char file[1 << 20];
static size_t length, position;

static void *take(png_structp png, size_t size)
{
	(void)png;
	return malloc(size);
}

static void spoil(png_structp png, void *memory)
{
	(void)png;
	if (memory != NULL)
		memset(memory, 0x5a, malloc_usable_size(memory));
	free(memory);
}

static void put(png_structp png, png_bytep data, size_t size)
{
	(void)png;
	memcpy(file + length, data, size);
	length += size;
}

static void flush(png_structp png)
{
	(void)png;
}

static void get(png_structp png, png_bytep data, size_t size)
{
	if (size > length - position)
		png_error(png, "short");
	memcpy(data, file + position, size);
	position += size;
}

static const png_color palette[4] = {{10, 20, 30}, {200, 100, 50}, {0, 255, 0}, {255, 255, 255}};
static const png_byte opacity[4] = {255, 255, 0, 128};

// A square with pixels of x + y; deep: 16 bits and interlaced, otherwise with a palette;
// again: set what was got.
static int write_square(int deep)
{
	png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL, NULL,
						    take, spoil);
	png_infop info = png_create_info_struct(png);
	unsigned char row[SIDE * 6];
	int x, y, pass;

	length = 0;
	if (setjmp(png_jmpbuf(png)))
		return 0;
	png_set_write_fn(png, NULL, put, flush);
	png_set_IHDR(png, info, SIDE, SIDE, deep ? 16 : 8,
		     deep ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_PALETTE,
		     deep ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
		     PNG_FILTER_TYPE_DEFAULT);
	if (deep) {
		png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
	} else {
		png_uint_16 often[4] = {1, 2, 3, 4};

		png_set_gAMA_fixed(png, info, 100000);
		png_set_PLTE(png, info, palette, 4);
		png_set_tRNS(png, info, opacity, 4, NULL);
		png_set_hIST(png, info, often);
	}
	png_write_info(png, info);
	for (pass = deep ? png_set_interlace_handling(png) : 1; pass > 0; pass--)
		for (y = 0; y < SIDE; y++) {
			for (x = 0; x < SIDE; x++)
				if (deep)
					memset(row + 6 * x, 3 * (x + y), 6);
				else
					row[x] = (x + y) % 4;
			png_write_row(png, row);
		}
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
	return 1;
}

// The colours are right, also where those of the info were freed in between.
static int reads_palette(int freed)
{
	png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL, NULL,
						   take, spoil);
	png_infop info = png_create_info_struct(png);
	unsigned char row[SIDE * 4];
	int x, y;

	position = 0;
	if (setjmp(png_jmpbuf(png)))
		return 0;
	png_set_read_fn(png, NULL, get);
	png_read_info(png, info);
	png_set_expand(png);
	png_read_update_info(png, info);
	if (freed)
		png_free_data(png, info, PNG_FREE_PLTE | PNG_FREE_TRNS, 0);
	for (y = 0; y < SIDE; y++) {
		png_read_row(png, row, NULL);
		for (x = 0; x < SIDE; x++) {
			int which = (x + y) % 4;

			if (memcmp(row + 4 * x, &palette[which], 3) != 0 ||
			    row[4 * x + 3] != opacity[which])
				return 0;
		}
	}
	png_destroy_read_struct(&png, &info, NULL);
	return 1;
}

// Reads into a buffer of just the size that libpng says, top-down or, with sign -1, bottom-up.
static int reads_into(int format, int sign, int first, int value)
{
	png_image image = {.version = PNG_IMAGE_VERSION};
	unsigned char *buffer;
	size_t size, i;
	int stride, good;

	if (!png_image_begin_read_from_memory(&image, file, length))
		return 0;
	image.format = (png_uint_32)format;
	stride = (int)PNG_IMAGE_ROW_STRIDE(image);
	size = PNG_IMAGE_SIZE(image);
	buffer = malloc(size + GUARD);
	memset(buffer, 0x77, size + GUARD);
	good = png_image_finish_read(&image, NULL, buffer, sign * stride, NULL) &&
	       buffer[first] == value;
	for (i = size; i < size + GUARD; i++)
		good = good && buffer[i] == 0x77;
	free(buffer);
	return good;
}

// Linear pixels that stand bottom-up in memory; the last is the first of the file.
static int writes_bottom_up(int format, int narrow, int fixed)
{
	static png_uint_16 pixels[SIDE][SIDE][4];
	unsigned char back[SIDE][SIDE];
	png_image image = {.version = PNG_IMAGE_VERSION,
			   .width = SIDE,
			   .height = SIDE,
			   .format = (png_uint_32)format};
	png_alloc_size_t size = sizeof file;
	int channels = (int)PNG_IMAGE_SAMPLE_CHANNELS(image.format), x, y;

	for (y = 0; y < SIDE; y++)
		for (x = 0; x < SIDE * channels; x++)
			((png_uint_16 *)pixels)[y * SIDE * channels + x] =
				(png_uint_16)((x % channels == channels - 1 &&
					       format & PNG_FORMAT_FLAG_ALPHA)
						      ? 65535
						      : y * 2000);
	if (!png_image_write_to_memory(&image, file, &size, narrow, pixels,
				       (fixed ? -1 : 1) * SIDE * channels, NULL))
		return 0;
	length = size;
	memset(&image, 0, sizeof image);
	image.version = PNG_IMAGE_VERSION;
	if (!png_image_begin_read_from_memory(&image, file, length))
		return 0;
	image.format = PNG_FORMAT_GRAY;
	if (!png_image_finish_read(&image, &palette[0], back, SIDE, NULL))
		return 0;
	x = fixed ? 0 : SIDE - 1;
	return back[x][0] > 200 && back[SIDE - 1 - x][0] == 0;
}

static int quantizes(void)
{
	png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL, NULL,
						   take, spoil);
	png_color colours[256];
	int i;

	if (setjmp(png_jmpbuf(png)))
		return 0;
	for (i = 0; i < 256; i++)
		memset(&colours[i], i, 3);
	png_set_quantize(png, colours, 250, 20, NULL, 1);
	png_destroy_read_struct(&png, NULL, NULL);
	return 1;
}

int main(int count, char **arguments)
{
	const char *fix = count > 1 ? arguments[1] : "";
	int bottom_up = strstr(fix, "22801") != NULL;

	if (!write_square(0))
		return 1;
	if (!reads_palette(strstr(fix, "33416-part1") != NULL))
		return 2;
	// The background shows through what is transparent.
	if (!reads_into(PNG_FORMAT_RGB, 1, 6, 0x77) || !reads_into(PNG_FORMAT_RGBA, 1, 11, 0))
		return 3;
	// Of a row that belongs to the last pass; and from the last row to the first.
	if (strstr(fix, "22695") != NULL &&
	    (!write_square(1) || !reads_into(PNG_FORMAT_RGB, 1, 99, 6) ||
	     !reads_into(PNG_FORMAT_RGBA, 1, 132, 6) || !reads_into(PNG_FORMAT_RGB, -1, 0, 93)))
		return 4;
	if (!writes_bottom_up(PNG_FORMAT_LINEAR_RGB_ALPHA, 0, bottom_up) ||
	    !writes_bottom_up(PNG_FORMAT_LINEAR_RGB_ALPHA, 1, bottom_up) ||
	    !writes_bottom_up(PNG_FORMAT_LINEAR_Y, 1, bottom_up))
		return 6;
	return quantizes() ? 0 : 7;
}
