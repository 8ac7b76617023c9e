// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What each fix of libtiff is for. argv[1]: the name of the fix; "make": write images for the
// tools.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("line %d: %s\n", __LINE__, #what);                                  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)
#define NAME "own.tif"

void *__libc_malloc(size_t size);

static char said[1024];
// Which allocation fails, counted down; 0: none.
static int failing;

void *malloc(size_t size)
{
	if (failing > 0 && --failing == 0)
		return NULL;
	return __libc_malloc(size);
}

static void says(const char *module, const char *format, va_list arguments)
{
	(void)module;
	vsnprintf(said, sizeof(said), format, arguments);
}

static int has_said(const char *text)
{
	int found = strstr(said, text) != NULL;

	said[0] = '\0';
	return found;
}

static void describe(TIFF *image, uint32_t width, uint32_t height, int samples, int photometric)
{
	TIFFSetField(image, TIFFTAG_IMAGEWIDTH, width);
	TIFFSetField(image, TIFFTAG_IMAGELENGTH, height);
	TIFFSetField(image, TIFFTAG_BITSPERSAMPLE, 8);
	TIFFSetField(image, TIFFTAG_SAMPLESPERPIXEL, samples);
	TIFFSetField(image, TIFFTAG_PHOTOMETRIC, photometric);
	TIFFSetField(image, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
	TIFFSetField(image, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
}

// A grey image of 10 rows of 10, each row of its own shade, in strips of 4 rows or in tiles of 16
// by 16.
static int write_shades(int tiled)
{
	TIFF *image = TIFFOpen(NAME, "w");
	unsigned char tile[256] = {0};
	int row;

	CHECK(image != NULL);
	describe(image, 10, 10, 1, PHOTOMETRIC_MINISBLACK);
	if (tiled) {
		TIFFSetField(image, TIFFTAG_TILEWIDTH, 16);
		TIFFSetField(image, TIFFTAG_TILELENGTH, 16);
		for (row = 0; row < 10; row++)
			memset(tile + row * 16, row * 20, 16);
		CHECK(TIFFWriteTile(image, tile, 0, 0, 0, 0) == 256);
	} else {
		TIFFSetField(image, TIFFTAG_ROWSPERSTRIP, 4);
		for (row = 0; row < 10; row++) {
			memset(tile, row * 20, 10);
			CHECK(TIFFWriteScanline(image, tile, row, 0) == 1);
		}
	}
	TIFFClose(image);
	return 0;
}

static int null_close(void)
{
	TIFFClose(NULL);
	return 0;
}

// Directories are written, and found again by their number.
static int directories(void)
{
	TIFF *image = TIFFOpen(NAME, "w");
	unsigned char row[8] = {0};
	uint32_t width;
	int n;

	CHECK(image != NULL);
	for (n = 0; n < 4; n++) {
		describe(image, n + 1, 1, 1, PHOTOMETRIC_MINISBLACK);
		CHECK(TIFFWriteScanline(image, row, 0, 0) == 1);
		CHECK(TIFFWriteDirectory(image) == 1);
	}
	TIFFClose(image);
	image = TIFFOpen(NAME, "r");
	CHECK(image != NULL && TIFFNumberOfDirectories(image) == 4);
	for (n = 3; n >= 0; n--) {
		CHECK(TIFFSetDirectory(image, n) == 1);
		CHECK(TIFFCurrentDirectory(image) == (tdir_t)n);
		CHECK(TIFFGetField(image, TIFFTAG_IMAGEWIDTH, &width) == 1 &&
		      width == (uint32_t)n + 1);
		CHECK(TIFFLastDirectory(image) == (n == 3));
	}
	CHECK(TIFFSetDirectory(image, 4) == 0);
	TIFFClose(image);
	return 0;
}

// A strip that ends too early is not read on.
static int lzw(void)
{
	TIFF *image = TIFFOpen(NAME, "w");
	unsigned char data[64 * 64], raw[2 * sizeof(data)], row[64];
	tmsize_t size;
	int n;

	for (n = 0; n < (int)sizeof(data); n++)
		data[n] = (unsigned char)(n * n / 7);
	CHECK(image != NULL);
	describe(image, 64, 64, 1, PHOTOMETRIC_MINISBLACK);
	TIFFSetField(image, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
	TIFFSetField(image, TIFFTAG_ROWSPERSTRIP, 64);
	CHECK(TIFFWriteEncodedStrip(image, 0, data, sizeof(data)) == sizeof(data));
	TIFFClose(image);
	image = TIFFOpen(NAME, "r");
	CHECK(image != NULL);
	size = TIFFReadRawStrip(image, 0, raw, sizeof(raw));
	CHECK(size > 100);
	for (n = 0; n < 64; n++)
		CHECK(TIFFReadScanline(image, row, n, 0) == 1 &&
		      memcmp(row, data + 64 * n, 64) == 0);
	TIFFClose(image);
	image = TIFFOpen(NAME, "w");
	CHECK(image != NULL);
	describe(image, 64, 64, 1, PHOTOMETRIC_MINISBLACK);
	TIFFSetField(image, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
	TIFFSetField(image, TIFFTAG_ROWSPERSTRIP, 64);
	CHECK(TIFFWriteRawStrip(image, 0, raw, size / 2) == size / 2);
	TIFFClose(image);
	image = TIFFOpen(NAME, "r");
	CHECK(image != NULL);
	for (n = 0; n < 64 && TIFFReadScanline(image, row, n, 0) == 1; n++)
		CHECK(memcmp(row, data + 64 * n, 64) == 0);
	CHECK(n > 10 && n < 60 && has_said("not terminated with EOI code"));
	CHECK(TIFFReadScanline(image, row, n + 1, 0) == -1);
	CHECK(has_said("cannot be read due to previous error"));
	TIFFClose(image);
	return 0;
}

// No names of inks at all are as wrong as ever, and right ones are right.
static int inks(void)
{
	TIFF *image = TIFFOpen(NAME, "w");
	uint16_t number = 0;
	char *names = NULL;

	CHECK(image != NULL);
	describe(image, 1, 1, 2, PHOTOMETRIC_SEPARATED);
	CHECK(TIFFSetField(image, TIFFTAG_INKNAMES, 0, NULL) == 0);
	CHECK(TIFFSetField(image, TIFFTAG_INKNAMES, 8, "red\0blue") == 0);
	CHECK(TIFFSetField(image, TIFFTAG_INKNAMES, 9, "red\0blue") == 1);
	CHECK(TIFFGetField(image, TIFFTAG_NUMBEROFINKS, &number) == 1 && number == 2);
	CHECK(TIFFGetField(image, TIFFTAG_INKNAMES, &names) == 1 &&
	      memcmp(names, "red\0blue", 9) == 0);
	TIFFClose(image);
	return 0;
}

// A strip or a tile that is not there is refused.
static int rgba_outside(void)
{
	uint32_t raster[256];
	TIFF *image;

	if (write_shades(0))
		return 1;
	image = TIFFOpen(NAME, "r");
	CHECK(image != NULL);
	CHECK(TIFFReadRGBAStrip(image, 8, raster) == 1 && TIFFGetR(raster[10]) == 160);
	CHECK(TIFFReadRGBAStrip(image, 12, raster) == 0 && has_said("Invalid row passed"));
	TIFFClose(image);
	if (write_shades(1))
		return 1;
	image = TIFFOpen(NAME, "r");
	CHECK(image != NULL);
	CHECK(TIFFReadRGBATile(image, 0, 0, raster) == 1 &&
	      TIFFGetR(raster[255 - 9 * 16 - 6]) == 180);
	CHECK(TIFFReadRGBATile(image, 16, 0, raster) == 0 && has_said("Invalid row/col passed"));
	CHECK(TIFFReadRGBATile(image, 0, 16, raster) == 0 && has_said("Invalid row/col passed"));
	TIFFClose(image);
	return 0;
}

// What is no number is encoded as a neutral colour.
static int luv(void)
{
	static const float pixels[] = {1, 1, 1, NAN, 1, 1, 0.2f, 0.4f, 0.1f};
	TIFF *image = TIFFOpen(NAME, "w");
	float back[9];

	CHECK(image != NULL);
	describe(image, 3, 1, 3, PHOTOMETRIC_LOGLUV);
	TIFFSetField(image, TIFFTAG_COMPRESSION, COMPRESSION_SGILOG24);
	TIFFSetField(image, TIFFTAG_SGILOGDATAFMT, SGILOGDATAFMT_FLOAT);
	TIFFSetField(image, TIFFTAG_SGILOGENCODE, SGILOGENCODE_NODITHER);
	CHECK(TIFFWriteScanline(image, (void *)pixels, 0, 0) == 1);
	TIFFClose(image);
	image = TIFFOpen(NAME, "r");
	CHECK(image != NULL);
	TIFFSetField(image, TIFFTAG_SGILOGDATAFMT, SGILOGDATAFMT_FLOAT);
	CHECK(TIFFReadScanline(image, back, 0, 0) == 1);
	CHECK(fabsf(back[6] - 0.2f) < 0.02f && fabsf(back[7] - 0.4f) < 0.02f &&
	      fabsf(back[8] - 0.1f) < 0.02f);
	// The neutral one is that of equal energy.
	CHECK(fabsf(back[3] - 1) < 0.05f && fabsf(back[4] - 1) < 0.05f &&
	      fabsf(back[5] - 1) < 0.05f);
	TIFFClose(image);
	return 0;
}

// Whichever allocation fails while a directory with a tag that nobody knows is read, the program
// goes on.
static int memory(void)
{
	static const unsigned char directory[18] = {1, 0, 0x39, 0xfe, 4, 0, 1, 0, 0, 0, 7};
	FILE *stream;
	long start;
	int n, kind, unharmed = 0;

	if (write_shades(0))
		return 1;
	stream = fopen(NAME, "r+b");
	CHECK(stream != NULL && fseek(stream, 0, SEEK_END) == 0);
	start = ftell(stream) + ftell(stream) % 2;
	CHECK(fseek(stream, start, SEEK_SET) == 0 &&
	      fwrite(directory, sizeof(directory), 1, stream) == 1);
	fclose(stream);
	for (n = 1; n < 60; n++)
		for (kind = 0; kind < 2; kind++) {
			TIFF *image = TIFFOpen(NAME, "r");
			const TIFFField *field;

			CHECK(image != NULL);
			failing = n;
			if (kind == 0)
				TIFFReadEXIFDirectory(image, (toff_t)start);
			else
				TIFFSetSubDirectory(image, (uint64_t)start);
			// More than it needs.
			if (failing > 0) {
				failing = 0;
				field = TIFFFindField(image, 0xfe39, TIFF_ANY);
				CHECK(field != NULL && TIFFFieldIsAnonymous(field));
				unharmed++;
			}
			failing = 0;
			TIFFClose(image);
		}
	CHECK(unharmed > 2);
	return 0;
}

// A raster of fewer rows than the image has gets as many; one of more has the image at its end.
static int oriented(void)
{
	uint32_t *memory = calloc(300, sizeof(*memory)), *raster = memory + 100;
	TIFF *image;
	int row;

	if (write_shades(0))
		return 1;
	image = TIFFOpen(NAME, "r");
	CHECK(image != NULL);
	CHECK(TIFFReadRGBAImageOriented(image, 10, 10, raster, ORIENTATION_TOPLEFT, 0) == 1);
	for (row = 0; row < 10; row++)
		CHECK(TIFFGetR(raster[row * 10]) == (unsigned)row * 20);
	memset(raster, 0, 800);
	CHECK(TIFFReadRGBAImageOriented(image, 10, 14, raster, ORIENTATION_TOPLEFT, 0) == 1);
	CHECK(raster[39] == 0);
	for (row = 0; row < 10; row++)
		CHECK(TIFFGetR(raster[(row + 4) * 10]) == (unsigned)row * 20);
	memset(raster, 0, 800);
	CHECK(TIFFReadRGBAImageOriented(image, 10, 4, raster, ORIENTATION_TOPLEFT, 0) == 1);
	for (row = 0; row < 4; row++)
		CHECK(TIFFGetR(raster[row * 10 + 9]) == (unsigned)row * 20);
	CHECK(raster[-1] == 0 && raster[40] == 0);
	TIFFClose(image);
	free(memory);
	return 0;
}

// The shade of each pixel is its own, whatever many of them share a colour, and whether rows run up
// or down.
static int ycbcr(void)
{
	static const int factors[][2] = {{4, 4}, {4, 2}, {4, 1}, {2, 2}, {2, 1}, {1, 2}, {1, 1}};
	static uint32_t raster[37 * 21];
	int n, x, y, up;

	for (n = 0; n < 14; n++) {
		int across = factors[n / 2][0], down = factors[n / 2][1];
		unsigned char data[4096], *to = data;
		TIFF *image = TIFFOpen(NAME, "w");
		int columns = (37 + across - 1) / across, rows = (21 + down - 1) / down;

		up = n % 2;
		CHECK(image != NULL);
		describe(image, 37, 21, 3, PHOTOMETRIC_YCBCR);
		TIFFSetField(image, TIFFTAG_YCBCRSUBSAMPLING, across, down);
		TIFFSetField(image, TIFFTAG_ROWSPERSTRIP, 24);
		TIFFSetField(image, TIFFTAG_ORIENTATION,
			     up ? ORIENTATION_BOTLEFT : ORIENTATION_TOPLEFT);
		for (y = 0; y < rows; y++)
			for (x = 0; x < columns; x++) {
				int i, j;

				for (j = 0; j < down; j++)
					for (i = 0; i < across; i++)
						*to++ = (unsigned char)(3 * (x * across + i) +
									5 * (y * down + j));
				*to++ = 128;
				*to++ = 128;
			}
		CHECK(TIFFWriteRawStrip(image, 0, data, to - data) == to - data);
		TIFFClose(image);
		image = TIFFOpen(NAME, "r");
		CHECK(image != NULL);
		memset(raster, 0, sizeof(raster));
		CHECK(TIFFReadRGBAImageOriented(image, 37, 21, raster, ORIENTATION_TOPLEFT, 1) ==
		      1);
		for (y = 0; y < 21; y++)
			for (x = 0; x < 37; x++) {
				uint32_t pixel = raster[(up ? 20 - y : y) * 37 + x];
				int wanted = 3 * x + 5 * y;

				CHECK(abs((int)TIFFGetR(pixel) - wanted) < 2 &&
				      abs((int)TIFFGetG(pixel) - wanted) < 2);
				CHECK(TIFFGetA(pixel) == 255);
			}
		TIFFClose(image);
	}
	return 0;
}

// For the tools: two images of three samples, of which the second is wider; and tiles of separate
// samples.
static int make(void)
{
	TIFF *image = TIFFOpen("two.tif", "w");
	unsigned char row[300];
	int n, y, x;

	CHECK(image != NULL);
	for (n = 0; n < 2; n++) {
		int width = n ? 100 : 30, height = n ? 20 : 50;

		describe(image, (uint32_t)width, (uint32_t)height, 3, PHOTOMETRIC_RGB);
		for (y = 0; y < height; y++) {
			for (x = 0; x < 3 * width; x++)
				row[x] = (unsigned char)(x * 3 + y * 7);
			CHECK(TIFFWriteScanline(image, row, (uint32_t)y, 0) == 1);
		}
		CHECK(TIFFWriteDirectory(image) == 1);
	}
	TIFFClose(image);
	for (n = 0; n < 2; n++) {
		image = TIFFOpen(n ? "narrow.tif" : "wide.tif", "w");
		CHECK(image != NULL);
		describe(image, n ? 10 : 32, 16, 3, PHOTOMETRIC_RGB);
		TIFFSetField(image, TIFFTAG_PLANARCONFIG, PLANARCONFIG_SEPARATE);
		TIFFSetField(image, TIFFTAG_TILEWIDTH, 16);
		TIFFSetField(image, TIFFTAG_TILELENGTH, 16);
		for (y = 0; y < 3; y++)
			for (x = 0; x < (n ? 1 : 2); x++) {
				memset(row, y * 60 + x * 30 + 10, 256);
				CHECK(TIFFWriteTile(image, row, (uint32_t)x * 16, 0, 0,
						    (uint16_t)y) == 256);
			}
		TIFFClose(image);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *fix;
		int (*test)(void);
	} tests[] = {
		{"TIFFWriteDirectorySec_avoid_harmless_unsigned-integer-overflow.patch",
		 directories},
		{"TIFFSetDirectory_avoid_harmless_unsigned-integer-overflow.patch", directories},
		{"TIFFClose_avoid_NULL_pointer_dereferencing.patch", null_close},
		{"CVE-2023-2731.patch", lzw},
		{"CVE-2023-2908.patch", inks},
		{"CVE-2023-52356.patch", rgba_outside},
		{"CVE-2023-26966.patch", luv},
		{"CVE-2024-7006.patch", memory},
		{"CVE-2025-9900.patch", oriented},
		{"CVE-2026-4775.patch", ycbcr},
		{"make", make},
	};
	size_t n;

	TIFFSetErrorHandler(says);
	TIFFSetWarningHandler(NULL);
	for (n = 0; n < sizeof(tests) / sizeof(*tests); n++)
		if (argc > 1 && strcmp(argv[1], tests[n].fix) == 0)
			return tests[n].test();
	printf("no test is for %s\n", argc > 1 ? argv[1] : "nothing");
	return 2;
}
