/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A library that calls itself the runtime, with a state block in memory of which every read waits for ever.
 *
 * SILENT=userfaultfd: nobody answers the faults. SILENT=PATH: it is of the file PATH, of a file system that
 * does not answer, which is told to fall silent by SIGUSR1 to the process SERVER.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <ulp/abi.h>

#define PAGE 4096
#define SIZE ((sizeof(struct ulp_state) + PAGE - 1) / PAGE * PAGE)

__attribute__((visibility("default"), aligned(PAGE))) char ulp_state[SIZE];

static void fail(const char *what)
{
	perror(what);
	abort();
}

static void keep_faults(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register area = {.range = {(uintptr_t)ulp_state, SIZE},
				       .mode = UFFDIO_REGISTER_MODE_MISSING};
	int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (mmap(ulp_state, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		fail("mmap");
	if (faults < 0 || ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &area))
		fail("userfaultfd");
}

static void map_file(const char *path)
{
	int file = open(path, O_RDONLY);

	if (file < 0 ||
	    mmap(ulp_state, SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED)
		fail(path);
	close(file);
	kill(atoi(getenv("SERVER")), SIGUSR1);
}

__attribute__((constructor)) static void fall_silent(void)
{
	const char *how = getenv("SILENT");

	if (how && !strcmp(how, "userfaultfd"))
		keep_faults();
	else if (how)
		map_file(how);
}
