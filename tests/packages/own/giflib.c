// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What each fix of giflib is for; without it, the program fails. argv[1]: the name of the fix.
#include <gif_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("line %d: %s\n", __LINE__, #what);                                  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

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

void *realloc(void *memory, size_t size)
{
	return fails() ? NULL : __libc_realloc(memory, size);
}

static const GifColorType colours[2] = {{1, 2, 3}, {4, 5, 6}};

static int is_whole(const SavedImage *image)
{
	return image->ImageDesc.ColorMap->ColorCount == 2 &&
	       memcmp(image->ImageDesc.ColorMap->Colors, colours, sizeof(colours)) == 0 &&
	       memcmp(image->RasterBits, "abcdefghijkl", 12) == 0 &&
	       image->ExtensionBlocks[0].Function == COMMENT_EXT_FUNC_CODE;
}

// Whichever allocation fails when an image is copied, the original is as it was.
static int copied(void)
{
	int n, done = 0;

	for (n = 1; !done; n++) {
		GifFileType from, to;
		SavedImage *original, *copy;

		CHECK(n < 100);
		memset(&from, 0, sizeof(from));
		memset(&to, 0, sizeof(to));
		original = GifMakeSavedImage(&from, NULL);
		CHECK(original != NULL);
		original->ImageDesc.Width = 4;
		original->ImageDesc.Height = 3;
		original->ImageDesc.ColorMap = GifMakeMapObject(2, colours);
		original->RasterBits = malloc(12);
		memcpy(original->RasterBits, "abcdefghijkl", 12);
		CHECK(GifAddExtensionBlock(&original->ExtensionBlockCount,
					   &original->ExtensionBlocks, COMMENT_EXT_FUNC_CODE, 2,
					   (unsigned char *)"hi") == GIF_OK);
		failing = n;
		copy = GifMakeSavedImage(&to, original);
		done = failing > 0;
		failing = 0;
		CHECK(is_whole(original) && original->ExtensionBlockCount == 1);
		CHECK((copy != NULL) == done);
		if (done) {
			CHECK(is_whole(copy) && copy->RasterBits != original->RasterBits);
			// giflib shares the bytes of extensions. (With the fix, it forgets how many
			// there are, as the rebuilt library does.)
			copy->ExtensionBlockCount = 0;
			free(copy->ExtensionBlocks);
			copy->ExtensionBlocks = NULL;
			GifFreeSavedImages(&to);
		}
		GifFreeSavedImages(&from);
	}
	return 0;
}

// A control block is not written over a shorter one.
static int control_block(void)
{
	GraphicsControlBlock block = {DISPOSE_BACKGROUND, false, 300, 7}, back;
	GifFileType file;
	SavedImage *image;

	memset(&file, 0, sizeof(file));
	image = GifMakeSavedImage(&file, NULL);
	CHECK(image != NULL);
	CHECK(EGifGCBToSavedExtension(&block, &file, 1) == GIF_ERROR);
	CHECK(EGifGCBToSavedExtension(&block, &file, 0) == GIF_OK &&
	      image->ExtensionBlockCount == 1);
	block.DelayTime = 500;
	CHECK(EGifGCBToSavedExtension(&block, &file, 0) == GIF_OK &&
	      image->ExtensionBlockCount == 1);
	CHECK(DGifSavedExtensionToGCB(&file, 0, &back) == GIF_OK);
	CHECK(back.DelayTime == 500 && back.DisposalMode == DISPOSE_BACKGROUND &&
	      back.TransparentColor == 7);
	image->ExtensionBlocks[0].ByteCount = 3;
	block.DelayTime = 700;
	CHECK(EGifGCBToSavedExtension(&block, &file, 0) == GIF_ERROR);
	CHECK(image->ExtensionBlocks[0].Bytes[1] == (500 & 255));
	GifFreeSavedImages(&file);
	return 0;
}

int main(int argc, char **argv)
{
	const char *fix = argc > 1 ? argv[1] : "";

	if (strcmp(fix, "CVE-2026-23868.patch") == 0)
		return copied();
	if (strcmp(fix, "CVE-2026-26740.patch") == 0)
		return control_block();
	return 2;
}
