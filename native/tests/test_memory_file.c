/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A patch library that comes as bytes: loaded from a memory file, of which nothing is left but what is mapped. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "target.h"

static const void *const functions[] = {answer, NULL};
static const struct pair pairs[] = {{answer, "new_answer"}, {NULL, NULL}};
static const struct pair newest[] = {{answer, "newest_answer"}, {NULL, NULL}};

enum supply {
	FILL,
	GIVE_UP,
	TAKE_AWAY,
	FORK
};

static void fill(int file)
{
	char bytes[65536];
	int library = open(PATCH_PATH, O_RDONLY);
	ssize_t count;

	CHECK(library >= 0);
	while ((count = read(library, bytes, sizeof bytes)) > 0)
		CHECK(write(file, bytes, (size_t)count) == count);
	close(library);
	CHECK(fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) ==
	      0);
}

static uint64_t count_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	uint64_t count = 0;

	CHECK(maps);
	while (fgets(line, sizeof line, maps))
		count += strstr(line, "memfd:ulp:") != NULL;
	fclose(maps);
	return count;
}

static int wait_for_descriptor(void)
{
	for (;;) {
		for (int i = 0; i < ULP_RESULTS; i++) {
			const struct ulp_result *result = &STATE->results[i];

			if (__atomic_load_n(&result->stage, __ATOMIC_ACQUIRE) == ULP_STAGE_WAITS &&
			    STATE->owner)
				return (int)result->universe;
		}
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
}

/* A child has no use for the file, and nobody to close it. */
static void fork_meanwhile(int file)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (child == 0)
		_exit(fcntl(file, F_GETFD) == -1 && errno == EBADF ? 0 : 1);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void *supply(void *argument)
{
	int file = wait_for_descriptor();

	switch (*(enum supply *)argument) {
	case FORK:
		fork_meanwhile(file);
		fill(file);
		break;
	case FILL:
		fill(file);
		break;
	case GIVE_UP:
		CHECK(fcntl(file, F_ADD_SEALS, F_SEAL_SEAL) == 0);
		break;
	case TAKE_AWAY:
		/* As a program does that closes all it does not know; the number is then another file's. */
		close(file);
		CHECK(open("/dev/null", O_RDONLY) == file);
		break;
	}
	return (void *)(long)file;
}

static int apply_bytes(unsigned char patch, const struct pair *replaced, enum supply how,
		       enum ulp_error error)
{
	struct ulp_request *request =
		prepare_apply(patch, PATCH_PATH, TARGET_ENDBR, functions, replaced);
	struct ulp_result result;
	pthread_t thread;
	void *file;

	request->patch_path += (uint32_t)strlen(PATCH_PATH);
	seal(request);
	CHECK(pthread_create(&thread, NULL, supply, &how) == 0);
	result = send(request);
	CHECK(pthread_join(thread, &file) == 0);
	if (result.error != (int32_t)error)
		fprintf(stderr, "error %d: %s\n", result.error, result.detail);
	CHECK(result.error == (int32_t)error);
	return (int)(long)file;
}

/* The library is loaded, but has not what the request says: once is enough. */
static void fail_after_loading(void)
{
	uint64_t mapped = 0;

	for (int i = 0; i < 3; i++) {
		struct ulp_request *request =
			prepare_apply(9, PATCH_PATH, TARGET_ENDBR, functions, pairs);
		struct ulp_request_library *library =
			(void *)((char *)request + request->libraries);
		struct ulp_request_replacement *replacement =
			(void *)((char *)request + library->replacements);
		struct ulp_result result;
		enum supply how = FILL;
		pthread_t thread;

		request->patch_path += (uint32_t)strlen(PATCH_PATH);
		replacement->replacement = 1ull << 32;
		seal(request);
		if (i == 0)
			CHECK(pthread_create(&thread, NULL, supply, &how) == 0);
		result = send(request);
		if (i == 0)
			CHECK(pthread_join(thread, NULL) == 0);
		CHECK(result.error == ULP_BAD_REQUEST);
		if (i == 0)
			mapped = count_mapped();
		CHECK(count_mapped() == mapped && mapped > 0);
	}
}

static bool is_open(int file)
{
	return fcntl(file, F_GETFD) != -1;
}

int main(void)
{
	int file = apply_bytes(1, pairs, GIVE_UP, ULP_LOAD_FAILED);

	CHECK(!is_open(file) && answer(1) == 2);
	file = apply_bytes(1, pairs, TAKE_AWAY, ULP_LOAD_FAILED);
	CHECK(is_open(file) && answer(1) == 2);
	close(file);
	fail_after_loading();
	CHECK(STATE->patch_count == 0 && answer(1) == 2);

	file = apply_bytes(1, pairs, FILL, ULP_OK);
	CHECK(!is_open(file) && answer(1) == 1001);
	/* The same number again, but another file. */
	CHECK(apply_bytes(2, newest, FORK, ULP_OK) == file);
	CHECK(!is_open(file) && answer(1) == 2001);
	CHECK(STATE->patches[0].text_start != STATE->patches[1].text_start);
	revert(2);
	CHECK(answer(1) == 1001);
	/* It is still loaded: no bytes are asked for. */
	apply(2, PATCH_PATH, TARGET_ENDBR, functions, newest);
	CHECK(answer(1) == 2001);
	return 0;
}
