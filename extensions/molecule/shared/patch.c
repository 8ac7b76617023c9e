/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A deflateInit2() that compresses at LEVEL, whatever level was asked for. What
 * comes out can be read as before, and says so: XFL, byte 8 of a gzip header
 * (RFC 1952, 2.3.1), is 4 for level 1 and 2 for level 9.
 *
 * As an author of a real fix would, this is compiled with the library's own
 * source, here all of it that the function needs.
 */
#define deflateInit2_ deflateInit2_as_it_was
#include "deflate.c"
#undef deflateInit2_

#include "trees.c"
#include "zutil.c"

__attribute__((visibility("default"))) int livepatched_deflateInit2_(z_streamp stream, int level,
								     int method, int window_bits,
								     int memory_level, int strategy,
								     const char *version, int size)
{
	(void)level;
	return deflateInit2_as_it_was(stream, LEVEL, method, window_bits, memory_level, strategy,
				      version, size);
}
