/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New versions of functions of the C library that do what the old ones do, and let themselves be
 * seen: in answers of programs that nobody prepared.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEEN 1000

double __strtod_internal(const char *text, char **end, int group);
long double __strtold_internal(const char *text, char **end, int group);

double new_strtod(const char *text, char **end)
{
	double value = __strtod_internal(text, end, 0);

	return value == 1.5 ? value + SEEN : value;
}

long double new_strtold(const char *text, char **end)
{
	long double value = __strtold_internal(text, end, 0);

	return value == 1.5 ? value + SEEN : value;
}

ssize_t new_pread64(int file, void *bytes, size_t size, off_t offset)
{
	ssize_t count = syscall(SYS_pread64, file, bytes, size, offset);

	if (count >= 3 && !memcmp(bytes, "old", 3))
		memcpy(bytes, "new", 3);
	return count;
}

int new_gethostname(char *name, size_t size)
{
	strncpy(name, "new-name", size);
	return 0;
}
