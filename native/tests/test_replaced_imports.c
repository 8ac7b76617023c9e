/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The target exports every function that the runtime takes from other objects, and all of them are
 * replaced while threads call them and are started.  Seen to die of an endless recursion while the
 * slow path put errno back by __errno_location().
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "replaced_imports.h"

int which_version(void);

#define DECLARE(name)    extern char name##_address[] __asm__(#name);
#define BY_ADDRESS(name) (const void *)name##_address,
#define BY_PAIR(name)    {(const void *)name##_address, "new_" #name},

EVERY_NAME(DECLARE)

static const void *const functions[] = {EVERY_NAME(BY_ADDRESS)(const void *) which_version, NULL};
static const struct pair pairs[] = {
	EVERY_NAME(BY_PAIR){(const void *)which_version, "new_which_version"}, {NULL, NULL}};

#define THREADS 4
#define ROUNDS  20

static volatile bool stop;
static unsigned long rounds[THREADS];

static void *nothing(void *argument)
{
	return argument;
}

/* Each of them is called in the version of this thread's universe, whatever that is at the moment. */
static void call_them(void)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	char *volatile text = strdup("what it says");
	char copy[32];
	struct timespec now;
	pthread_t thread;

	CHECK(strlen(text) == 12);
	memcpy(copy, text, 13);
	CHECK(strcmp(copy, text) == 0 && memcmp(copy, text, 13) == 0);
	memset(copy, 0, sizeof copy);
	memmove(copy, text, 5);
	free(text);
	CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	CHECK(close(-1) == -1 && errno == EBADF);
	CHECK(getauxval(AT_PAGESZ) == 4096);
	CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
}

static void *work(void *argument)
{
	while (!stop) {
		call_them();
		__atomic_fetch_add((unsigned long *)argument, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Until every thread has come by once more. */
static void let_all_pass(void)
{
	for (int i = 0; i < THREADS; i++) {
		unsigned long before = __atomic_load_n(&rounds[i], __ATOMIC_RELAXED);

		while (__atomic_load_n(&rounds[i], __ATOMIC_RELAXED) < before + 2)
			usleep(1000);
	}
}

static unsigned long calls(int version)
{
	return __atomic_load_n(&version_calls[version], __ATOMIC_RELAXED);
}

static void expect_version(int version)
{
	unsigned long before = calls(version), other = calls(1 - version);

	CHECK(which_version() == version + 1);
	call_them();
	CHECK(calls(version) > before);
	/* No thread is left behind that would still call the others. */
	CHECK(calls(1 - version) == other);
}

static void fork_once(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		call_them();
		_exit(which_version());
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == which_version());
}

int main(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, &rounds[i]) == 0);
	for (int round = 0; round < ROUNDS; round++) {
		apply(1, PATCH_PATH, TARGET_ENDBR, functions, pairs);
		let_all_pass();
		expect_version(1);
		if (round % 5 == 0)
			fork_once();
		revert(1);
		let_all_pass();
		expect_version(0);
	}
	stop = true;
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	printf("%lu calls of the old versions, %lu of the new ones\n", calls(0), calls(1));
	CHECK(STATE->domains[0].slow_entries > 0);
	return 0;
}
