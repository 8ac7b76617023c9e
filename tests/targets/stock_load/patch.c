/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What gives the same results as the functions that it replaces. */

unsigned long new_adler32(unsigned long start, const unsigned char *data, unsigned size)
{
	unsigned long a = start & 0xffff, b = start >> 16 & 0xffff;

	for (unsigned i = 0; data && i < size; i++) {
		a = (a + data[i]) % 65521;
		b = (b + a) % 65521;
	}
	return data ? b << 16 | a : 1;
}

unsigned long new_bound(unsigned long size)
{
	return size + (size >> 12) + (size >> 14) + (size >> 25) + 13;
}

const char *new_version(void)
{
	return "1.patched";
}

const char *new_error_string(int code)
{
	return code ? "patched" : 0;
}
