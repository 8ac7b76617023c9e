/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text, without the C library's printf(). */
#ifndef ULP_FORMAT_H
#define ULP_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Knows %s, %d, %u, %x and %%, with l or ll, and a width with leading zeros.  What does not fit into
 * `size` bytes, which end in NUL, is left out.  Returns how many characters are there.
 */
__attribute__((format(printf, 3, 4))) size_t ulp_format(char *text, size_t size, const char *format,
							...);
__attribute__((format(printf, 3, 0))) size_t ulp_format_list(char *text, size_t size,
							     const char *format, va_list arguments);

#endif
