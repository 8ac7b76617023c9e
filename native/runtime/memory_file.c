/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "system_call.h"
#include "runtime/clock.h"
#include "runtime/descriptor.h"
#include "runtime/fork.h"
#include "runtime/format.h"
#include "runtime/memory_file.h"
#include "runtime/state.h"

/* Linux 6.3: not for execve(), which the loader has no need of.  Allows sealing too. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

#define SEALS       (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define PATIENCE_NS 5000000000ull
#define PAUSE_NS    500000
#define NAME_SIZE   128
#define DIRECTORY   "/proc/thread-self/fd"

static struct ulp_descriptor file = {.number = -1};
/*
 * What was loaded so, in order.  A livepatch that could not be applied then is loaded all the
 * same, and found again by its name: nobody must bring it a second time, to be loaded twice.
 */
static struct {
	uint8_t id[ULP_PATCH_ID_SIZE];
	int number;
} loaded[ULP_PATCHES];
static unsigned loaded_count;
static unsigned current;
static uint8_t current_id[ULP_PATCH_ID_SIZE];
static char path[sizeof DIRECTORY + ULP_PATCHES + 16];

static void drop(void)
{
	ulp_descriptor_close(&file);
}

/* A child has a copy, and nobody who would close it. */
static bool prepare_for_fork(void)
{
	static bool prepared;

	if (!prepared)
		prepared = ulp_at_fork(NULL, NULL, drop);
	return prepared;
}

long ulp_memory_file_create(const char *name, struct ulp_descriptor *created)
{
	char shown[NAME_SIZE];
	long number;

	ulp_format(shown, sizeof shown, "ulp:%s", name);
	number = ulp_system_call(SYS_memfd_create, shown, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (number == -EINVAL)
		number = ulp_system_call(SYS_memfd_create, shown, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	*created = ulp_descriptor_of((int)number);
	return created->number >= 0 ? 0 : number;
}

/* The core seals it when all is written, or only forbids further seals: it gave up. */
static bool wait_for_seals(void)
{
	const struct timespec pause = {0, PAUSE_NS};
	uint64_t start = ulp_clock_ns(CLOCK_MONOTONIC);

	while (ulp_descriptor_is_ours(&file)) {
		int seals = (int)ulp_system_call(SYS_fcntl, file.number, F_GET_SEALS);

		if (seals < 0 || seals & F_SEAL_SEAL)
			return seals >= 0 && (seals & SEALS) == SEALS;
		if (ulp_clock_ns(CLOCK_MONOTONIC) - start > PATIENCE_NS)
			return false;
		/* nanosleep() of libc makes this call, too: a filter that was examined for it allows it. */
		ulp_system_call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return false;
}

enum ulp_error ulp_memory_file_receive(struct ulp_result *result, const char *name,
				       const uint8_t *id)
{
	long error;

	for (current = 0; current < loaded_count; current++)
		if (memcmp(loaded[current].id, id, ULP_PATCH_ID_SIZE) == 0)
			return ULP_OK;
	memcpy(current_id, id, ULP_PATCH_ID_SIZE);
	if (!prepare_for_fork())
		return ULP_NO_MEMORY;
	if (loaded_count >= ULP_PATCHES) {
		ulp_format(result->detail, sizeof result->detail, "more than %d patches",
			   ULP_PATCHES);
		return ULP_FULL;
	}
	error = ulp_memory_file_create(name, &file);
	if (error < 0) {
		ulp_format(result->detail, sizeof result->detail, "memfd_create: error %d",
			   (int)-error);
		return ULP_LOAD_FAILED;
	}
	result->universe = (uint64_t)file.number;
	__atomic_store_n(&result->stage, ULP_STAGE_WAITS, __ATOMIC_RELEASE);
	if (!wait_for_seals()) {
		drop();
		result->universe = 0;
		ulp_format(result->detail, sizeof result->detail, "its bytes did not come");
		return ULP_LOAD_FAILED;
	}
	result->universe = 0;
	__atomic_store_n(&result->stage, ULP_STAGE_STARTED, __ATOMIC_RELEASE);
	return ULP_OK;
}

const char *ulp_memory_file_path(void)
{
	size_t length = sizeof DIRECTORY - 1;
	int number = current < loaded_count ? loaded[current].number : file.number;

	/* The loader knows libraries by their paths: numbers of descriptors come again. */
	memcpy(path, DIRECTORY, length);
	memset(path + length, '/', current + 1);
	length += current + 1;
	ulp_format(path + length, sizeof path - length, "%d", number);
	return path;
}

void ulp_memory_file_loaded(void)
{
	if (current < loaded_count)
		return;
	memcpy(loaded[current].id, current_id, ULP_PATCH_ID_SIZE);
	loaded[current].number = file.number;
	loaded_count++;
}

void ulp_memory_file_close(void)
{
	drop();
}
