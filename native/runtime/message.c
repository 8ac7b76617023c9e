/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <time.h>

#include "runtime/clock.h"
#include "runtime/format.h"
#include "runtime/message.h"

struct ulp_messages ulp_messages = {.size = sizeof ulp_messages.data};

/* Only the worker speaks, so there is one writer; `written` tells readers how far to trust. */
static void append(const char *text, size_t length)
{
	uint64_t at = ulp_messages.written;

	for (size_t i = 0; i < length; i++)
		ulp_messages.data[(at + i) % sizeof ulp_messages.data] = text[i];
	__atomic_store_n(&ulp_messages.written, at + length, __ATOMIC_RELEASE);
}

void ulp_message(const char *format, ...)
{
	char line[512];
	uint64_t now = ulp_clock_ns(CLOCK_REALTIME);
	va_list arguments;
	size_t length;

	length = ulp_format(line, sizeof line, "%llu.%03llu ",
			    (unsigned long long)(now / 1000000000),
			    (unsigned long long)(now / 1000000 % 1000));
	va_start(arguments, format);
	length += ulp_format_list(line + length, sizeof line - length - 1, format, arguments);
	va_end(arguments);
	line[length++] = '\n';
	append(line, length);
}
