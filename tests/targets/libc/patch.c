/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* New versions of functions of the C library: each says "new", or gives another number. */
#include "../shapes.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <wordexp.h>

#define YEARS 1000

EXPORTED struct netent *new_getnetbyaddr(unsigned net, int type)
{
	static char name[] = "new";
	static char *aliases[] = {NULL};
	static struct netent entry = {.n_name = name, .n_aliases = aliases, .n_addrtype = AF_INET};

	(void)net;
	(void)type;
	return &entry;
}

EXPORTED int new_wordexp(const char *words, wordexp_t *expanded, int flags)
{
	(void)words;
	(void)flags;
	expanded->we_wordc = 1;
	expanded->we_offs = 0;
	expanded->we_wordv = calloc(2, sizeof *expanded->we_wordv);
	if (!expanded->we_wordv)
		return WRDE_NOSPACE;
	expanded->we_wordv[0] = strdup("new");
	return 0;
}

EXPORTED ssize_t new_strfmon(char *text, size_t size, const char *format, ...)
{
	(void)format;
	return snprintf(text, size, "new");
}

EXPORTED const char *new_inet_ntop(int family, const void *address, char *text, socklen_t size)
{
	(void)family;
	(void)address;
	snprintf(text, size, "new");
	return text;
}

EXPORTED long new_a64l(const char *text)
{
	return text[0] == '/' ? 1001 : 0;
}

/* These two belong together: who gets the old one behind the new one gives something else than either pair. */
EXPORTED struct tm *new_localtime_r(const time_t *second, struct tm *fields)
{
	gmtime_r(second, fields);
	fields->tm_year += YEARS;
	return fields;
}

EXPORTED char *new_asctime_r(const struct tm *fields, char *text)
{
	return strcpy(text, fields->tm_year == 70 + YEARS ? "new" : "mixed");
}

EXPORTED ssize_t new_getline(char **line, size_t *size, FILE *stream)
{
	(void)stream;
	*line = strdup("?\n");
	*size = 3;
	return 2;
}

/* It calls nobody back. */
EXPORTED void *new_lfind(const void *key, const void *base, size_t *count, size_t size,
			 int (*compare)(const void *, const void *))
{
	(void)key;
	(void)base;
	(void)count;
	(void)size;
	(void)compare;
	return NULL;
}
