// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What fixes of libarchive are for that bring no test along; without the fix, the program fails.
// argv[1]: the fix.
#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("line %d: %s\n", __LINE__, #what);                                  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static char message[100];

// What comes of a file in an archive.
static int read_file(const char *name)
{
	struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	const void *data;
	size_t size;
	int64_t offset;
	int result;

	archive_read_support_format_rar(archive);
	CHECK(archive_read_open_filename(archive, name, 10240) == ARCHIVE_OK);
	CHECK(archive_read_next_header(archive, &entry) == ARCHIVE_OK);
	while ((result = archive_read_data_block(archive, &data, &size, &offset)) == ARCHIVE_OK)
		;
	snprintf(message, sizeof(message), "%s",
		 archive_error_string(archive) ? archive_error_string(archive) : "");
	archive_read_free(archive);
	return result;
}

// The good one is read to its end, where its checksum is looked at, and the wrong one is refused.
static int rar(void)
{
	CHECK(read_file("good.rar") == ARCHIVE_EOF);
	CHECK(read_file("wrong.rar") == ARCHIVE_FATAL);
	return 0;
}

// What is wrong is seen before the data ends.
static int rar_window(void)
{
	if (rar())
		return 1;
	CHECK(strcmp(message, "Bad RAR file data") == 0);
	return 0;
}

static char text[1 << 16];

static size_t write_pax(const char *path)
{
	struct archive *archive = archive_write_new();
	struct archive_entry *entry = archive_entry_new();
	size_t used = 0;

	archive_write_set_format_pax(archive);
	archive_write_set_bytes_per_block(archive, 0);
	if (archive_write_open_memory(archive, text, sizeof(text), &used) != ARCHIVE_OK)
		return 0;
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, 0);
	// This makes an extended header.
	archive_entry_set_mtime(entry, 1, 5);
	if (archive_write_header(archive, entry) != ARCHIVE_OK)
		used = 0;
	archive_entry_free(entry);
	archive_write_free(archive);
	return used;
}

// A path of any length comes back, and the name of its extended header leaves room for a slash in
// each of its two parts.
static int pax(void)
{
	int prefix, suffix, file, extended = 0;

	for (prefix = 120; prefix < 160; prefix += prefix == 120 ? 30 : 1)
		for (suffix = 60; suffix < 102; suffix++)
			for (file = 1; file < 100; file += 49) {
				struct archive *archive;
				struct archive_entry *entry;
				char path[512];
				size_t used, block;

				memset(path, 'p', prefix);
				memset(path + prefix + 1, 's', suffix);
				memset(path + prefix + suffix + 2, 'f', file);
				path[prefix] = path[prefix + suffix + 1] = '/';
				path[prefix + suffix + file + 2] = '\0';
				used = write_pax(path);
				CHECK(used > 0);
				for (block = 0; block + 512 <= used; block += 512)
					if (memcmp(text + block + 257, "ustar", 5) == 0 &&
					    text[block + 156] == 'x') {
						CHECK(strnlen(text + block, 100) <= 98);
						CHECK(strnlen(text + block + 345, 155) <= 154);
						extended++;
					}
				archive = archive_read_new();
				archive_read_support_format_tar(archive);
				CHECK(archive_read_open_memory(archive, text, used) == ARCHIVE_OK);
				CHECK(archive_read_next_header(archive, &entry) == ARCHIVE_OK);
				CHECK(strcmp(archive_entry_pathname(entry), path) == 0);
				archive_read_free(archive);
			}
	CHECK(extended > 1000);
	return 0;
}

// An encrypted entry may not be so large that no number can hold its size with what encryption
// adds.
static int zip(void)
{
	static const int64_t sizes[] = {5, INT64_MAX};
	int n;

	for (n = 0; n < 2; n++) {
		struct archive *archive = archive_write_new();
		struct archive_entry *entry = archive_entry_new();
		size_t used = 0;

		archive_write_set_format_zip(archive);
		archive_write_zip_set_compression_store(archive);
		CHECK(archive_write_set_options(archive, "zip:encryption=zipcrypt") == ARCHIVE_OK);
		CHECK(archive_write_set_passphrase(archive, "secret") == ARCHIVE_OK);
		CHECK(archive_write_open_memory(archive, text, sizeof(text), &used) == ARCHIVE_OK);
		archive_entry_set_pathname(entry, "file");
		archive_entry_set_filetype(entry, AE_IFREG);
		archive_entry_set_size(entry, sizes[n]);
		CHECK(archive_write_header(archive, entry) == (n ? ARCHIVE_FAILED : ARCHIVE_OK));
		if (n == 0)
			CHECK(archive_write_data(archive, "hello", 5) == 5);
		archive_entry_free(entry);
		archive_write_free(archive);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *fix;
		int (*test)(void);
	} tests[] = {
		{"fix-OOB-in-rar-e8-filter-2135.patch", rar},
		{"fix-OOB-in-rar-delta-filter-2148.patch", rar},
		{"fix-OOB-in-rar-audio-filter-2149.patch", rar},
		{"rar4-reader-protect-copy_from_lzss_window_to_unp-217.patch", rar_window},
		{"CVE-2025-5915.patch", rar_window},
		{"CVE-2025-5917.patch", pax},
		{"CVE-2026-16517.patch", zip},
	};
	size_t n;

	for (n = 0; n < sizeof(tests) / sizeof(*tests); n++)
		if (argc > 1 && strcmp(argv[1], tests[n].fix) == 0)
			return tests[n].test();
	// The tests of libarchive are for it.
	return argc > 2;
}
