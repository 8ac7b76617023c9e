/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that says of its arguments that they are a terabyte: prctl(2), PR_SET_MM_MAP, which needs no privilege.
 *
 * Its name has as many characters as the kernel keeps, so that who wants the whole name reads the arguments.
 */
#include <linux/prctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SIZE   (1UL << 40)
#define FIELDS 52

/* The fields of /proc/self/stat from the third one on, proc_pid_stat(5), at their numbers. */
static void read_stat(unsigned long *fields)
{
	char text[4096], *rest, *word;
	FILE *file = fopen("/proc/self/stat", "r");
	int number = 3;

	if (!file || !fgets(text, sizeof text, file))
		abort();
	fclose(file);
	rest = strrchr(text, ')') + 1;
	while ((word = strtok(rest, " ")) && number <= FIELDS) {
		fields[number++] = strtoul(word, NULL, 10);
		rest = NULL;
	}
}

int main(void)
{
	unsigned long stat[FIELDS + 1] = {0};
	char *words =
		mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct prctl_mm_map map = {.exe_fd = UINT32_MAX};

	if (words == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	read_stat(stat);
	map.start_code = stat[26];
	map.end_code = stat[27];
	map.start_stack = stat[28];
	map.start_data = stat[45];
	map.end_data = stat[46];
	map.start_brk = stat[47];
	map.brk = (uintptr_t)sbrk(0);
	map.arg_start = (uintptr_t)words;
	map.arg_end = (uintptr_t)words + SIZE - 4096;
	map.env_start = stat[50];
	map.env_end = stat[51];
	if (prctl(PR_SET_NAME, "endless-arguments") ||
	    prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0)) {
		perror("prctl");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	getchar();
	return 0;
}
