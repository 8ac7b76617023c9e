/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

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
	struct timespec now;
	va_list arguments;
	int length, more;

	clock_gettime(CLOCK_REALTIME, &now);
	length = snprintf(line, sizeof line, "%lld.%03ld ", (long long)now.tv_sec,
			  now.tv_nsec / 1000000);
	va_start(arguments, format);
	more = vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
	va_end(arguments);
	if (more > 0)
		length += more;
	if (length > (int)sizeof line - 2)
		length = (int)sizeof line - 2;
	line[length++] = '\n';
	append(line, (size_t)length);
}
