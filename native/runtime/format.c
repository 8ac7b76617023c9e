/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <stdint.h>

#include "runtime/format.h"

struct text {
	char *start;
	size_t room; /* without the NUL */
	size_t length;
};

static void put(struct text *text, char character)
{
	if (text->length < text->room)
		text->start[text->length++] = character;
}

static void put_string(struct text *text, const char *string)
{
	while (*string)
		put(text, *string++);
}

static void put_number(struct text *text, uint64_t value, unsigned base, unsigned width)
{
	char digits[24];
	unsigned count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (count < width && count < sizeof digits)
		digits[count++] = '0';
	while (count)
		put(text, digits[--count]);
}

static void put_signed(struct text *text, int64_t value, unsigned width)
{
	if (value < 0)
		put(text, '-');
	put_number(text, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width);
}

size_t ulp_format_list(char *buffer, size_t size, const char *format, va_list arguments)
{
	struct text text = {buffer, size - 1, 0};

	for (; *format; format++) {
		unsigned width = 0;
		bool is_long = false;

		if (*format != '%') {
			put(&text, *format);
			continue;
		}
		while (*++format >= '0' && *format <= '9')
			width = width * 10 + (unsigned)(*format - '0');
		for (; *format == 'l'; format++)
			is_long = true;
		switch (*format) {
		case 's':
			put_string(&text, va_arg(arguments, const char *));
			break;
		case 'd':
			put_signed(&text,
				   is_long ? va_arg(arguments, long) : va_arg(arguments, int),
				   width);
			break;
		case 'u':
		case 'x':
			put_number(&text,
				   is_long ? va_arg(arguments, unsigned long)
					   : va_arg(arguments, unsigned),
				   *format == 'x' ? 16 : 10, width);
			break;
		default:
			put(&text, *format);
		}
	}
	buffer[text.length] = 0;
	return text.length;
}

size_t ulp_format(char *text, size_t size, const char *format, ...)
{
	va_list arguments;
	size_t length;

	va_start(arguments, format);
	length = ulp_format_list(text, size, format, arguments);
	va_end(arguments);
	return length;
}
