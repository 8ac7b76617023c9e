/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bootstrap code, copied to a place that knows nothing of it, loads the runtime into this
 * process, which was started without: from a file, and from bytes.  The diverted thread goes on as
 * if nothing had been, whatever becomes of it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ulp/abi.h>

#include "check.h"

#define ERESTARTSYS  512
#define XSTATE_SIZE  16384
#define PAGE         4096
#define NONCE        0x1234500000001ull
#define DETAIL_SIZE  64
#define PATIENCE     10000 /* milliseconds */
#define LONGEST_PATH 512

uint64_t divert_flags;

long divert(void (*entry)(void), uint64_t nonce, size_t xstate_size, uint64_t interrupted);

static union {
	struct ulp_bootstrap_words words;
	char room[sizeof(struct ulp_bootstrap_words) + DETAIL_SIZE];
} place __attribute__((aligned(16)));

#define WORDS ((volatile struct ulp_bootstrap_words *)&place.words)

static volatile sig_atomic_t handled;

static void handler(int signal_number)
{
	(void)signal_number;
	handled++;
}

static uint64_t function(const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);

	CHECK(found != NULL);
	return (uint64_t)found;
}

static int note_c_library(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct ulp_bootstrap *head = argument;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uint64_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD ||
		    head->system_call - start >= info->dlpi_phdr[i].p_memsz)
			continue;
		head->c_library_start = start;
		head->c_library_end = start + info->dlpi_phdr[i].p_memsz;
	}
	return 0;
}

/* Where the code goes is executable and cannot be written; it is never taken away.  Returns the entry. */
static void (*copied(const char *path))(void)
{
	unsigned char *code =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ulp_bootstrap head;
	int file = open(BOOTSTRAP, O_RDONLY);
	ssize_t size;

	CHECK(code != MAP_FAILED);
	size = read(file, code, PAGE - LONGEST_PATH);
	CHECK(close(file) == 0);
	memcpy(&head, code, sizeof head);
	CHECK(head.magic == ULP_BOOTSTRAP_MAGIC && head.size == size && head.entry < size);
	head.pthread_create = function("pthread_create");
	head.pthread_attr_init = function("pthread_attr_init");
	head.pthread_attr_setstacksize = function("pthread_attr_setstacksize");
	head.pthread_attr_setdetachstate = function("pthread_attr_setdetachstate");
	head.errno_location = function("__errno_location");
	head.register_atfork = function("__register_atfork");
	head.cxa_finalize = function("__cxa_finalize");
	head.dlopen = function("dlopen");
	head.dlerror = function("dlerror");
	head.system_call = function("syscall");
	dl_iterate_phdr(note_c_library, &head);
	head.words = (uint64_t)WORDS;
	head.detail_size = DETAIL_SIZE;
	head.has_avx = __builtin_cpu_supports("avx") != 0;
	head.brings_bytes = path == NULL;
	memcpy(code, &head, sizeof head);
	if (path) {
		CHECK(strlen(path) < LONGEST_PATH);
		memcpy(code + size, path, strlen(path));
	}
	CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
	return (void (*)(void))(code + head.entry);
}

static void wait_while(uint32_t stage)
{
	for (int i = 0; WORDS->stage == stage; i++) {
		CHECK(i < PATIENCE);
		usleep(1000);
	}
}

/* Nobody executes the code any more: it could be taken away. */
static void wait_for_end_of_worker(void)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/task/%u", WORDS->worker);
	for (int i = 0; access(path, F_OK) == 0; i++) {
		CHECK(i < PATIENCE);
		usleep(1000);
	}
}

/* Returns what the interrupted call gives. */
static long bootstrap(const char *path, uint64_t interrupted)
{
	void (*entry)(void) = copied(path);
	sigset_t before, after;
	long result;

	CHECK(sigemptyset(&before) == 0 && sigemptyset(&after) == 0);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &before) == 0);
	errno = EDOM;
	result = divert(entry, NONCE, XSTATE_SIZE, interrupted);
	CHECK(errno == EDOM);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &after) == 0);
	CHECK(memcmp(&before, &after, 8) == 0);
	return result;
}

static bool is_mapped(const char *name)
{
	static char line[4096];
	FILE *maps = fopen("/proc/self/maps", "r");
	bool found = false;

	while (fgets(line, sizeof line, maps))
		found |= strstr(line, name) != NULL;
	fclose(maps);
	return found;
}

static const volatile struct ulp_state *state_in(const char *path)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);

	CHECK(handle != NULL);
	return dlsym(handle, "ulp_state");
}

/*
 * The constructor ran on the worker.  Seen to fail with a claim that is made without regard to what was
 * expected, and with the signal mask left as the bootstrap code sets it.
 */
static void from_a_file(void)
{
	struct ulp_bootstrap_words first;

	CHECK(bootstrap(RUNTIME, 0) == 0);
	wait_while(ULP_BOOTSTRAP_STARTED);
	CHECK(WORDS->stage == ULP_BOOTSTRAP_LOADED && WORDS->claim == NONCE);
	CHECK(WORDS->begun == (uint32_t)NONCE);
	CHECK(WORDS->thread == (uint32_t)getpid() && WORDS->worker != WORDS->thread);
	wait_for_end_of_worker();
	CHECK(state_in(RUNTIME)->magic == ULP_STATE_MAGIC && state_in(RUNTIME)->attached == 1);
	/* A claim that is not the one that was expected is left alone. */
	memcpy(&first, (void *)WORDS, sizeof first);
	CHECK(bootstrap(RUNTIME, 0) == 0);
	usleep(10000);
	CHECK(memcmp(&first, (void *)WORDS, sizeof first) == 0);
}

static void from_bytes(void)
{
	char path[64], name[64];
	struct stat status;
	int source = open(RUNTIME, O_RDONLY), file;
	void *bytes;

	CHECK(source >= 0 && fstat(source, &status) == 0);
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, source, 0);
	CHECK(bytes != MAP_FAILED);
	CHECK(bootstrap(NULL, 0) == 0);
	wait_while(ULP_BOOTSTRAP_STARTED);
	CHECK(WORDS->stage == ULP_BOOTSTRAP_WAITS);
	snprintf(path, sizeof path, "/proc/self/fd/%d", WORDS->descriptor);
	file = open(path, O_RDWR);
	CHECK(file >= 0 && write(file, bytes, (size_t)status.st_size) == status.st_size);
	snprintf(name, sizeof name, "/proc/thread-self/fd//%d", WORDS->descriptor);
	CHECK(fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) ==
	      0);
	wait_while(ULP_BOOTSTRAP_WAITS);
	wait_while(ULP_BOOTSTRAP_STARTED);
	CHECK(WORDS->stage == ULP_BOOTSTRAP_LOADED);
	CHECK(is_mapped("/memfd:libpulp.so"));
	CHECK(state_in(name)->magic == ULP_STATE_MAGIC);
	wait_for_end_of_worker();
}

static void without_bytes(void)
{
	char path[64];
	int file;

	CHECK(bootstrap(NULL, 0) == 0);
	wait_while(ULP_BOOTSTRAP_STARTED);
	snprintf(path, sizeof path, "/proc/self/fd/%d", WORDS->descriptor);
	file = open(path, O_RDWR);
	CHECK(file >= 0 && fcntl(file, F_ADD_SEALS, F_SEAL_SEAL) == 0);
	wait_while(ULP_BOOTSTRAP_WAITS);
	CHECK(WORDS->stage == ULP_BOOTSTRAP_NO_FILE && WORDS->error == 0);
	wait_for_end_of_worker();
	CHECK(fcntl(WORDS->descriptor, F_GETFD) == -1);
}

static void refused(void)
{
	CHECK(bootstrap("/nowhere/libpulp.so", 0) == 0);
	wait_while(ULP_BOOTSTRAP_STARTED);
	CHECK(WORDS->stage == ULP_BOOTSTRAP_REFUSED);
	CHECK(strncmp((const char *)WORDS->detail, "/nowhere/libpulp.so: ", 21) == 0);
	CHECK(strlen((const char *)WORDS->detail) < DETAIL_SIZE);
	wait_for_end_of_worker();
}

/* As in test_restart.c: the same code answers for the interrupted call. */
static void interrupted(void)
{
	struct sigaction action = {.sa_handler = handler};
	sigset_t blocked;

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(bootstrap(RUNTIME, ERESTARTSYS) == 0 && handled == 0);
	wait_while(ULP_BOOTSTRAP_STARTED);
	wait_for_end_of_worker();
	/* divert() asks for an empty mask, so that what is pending comes when the entry puts it back. */
	CHECK(sigemptyset(&blocked) == 0 && sigaddset(&blocked, SIGUSR1) == 0);
	CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0);
	WORDS->claim = 0;
	CHECK(divert(copied(RUNTIME), NONCE, XSTATE_SIZE, ERESTARTSYS) == -EINTR && handled == 1);
	wait_while(ULP_BOOTSTRAP_STARTED);
	wait_for_end_of_worker();
}

static void fork_and_load(void)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		alarm(20);
		_exit(dlopen("libm.so.6", RTLD_NOW) ? 0 : 1);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* A process of one thread goes on forking while the worker is at work; each child loads something itself. */
static void while_forking(void)
{
	for (int i = 0; i < 50; i++) {
		char path[64];

		WORDS->claim = 0;
		CHECK(bootstrap(i % 2 ? "/nowhere/libpulp.so" : RUNTIME, 0) == 0);
		do {
			fork_and_load();
			snprintf(path, sizeof path, "/proc/self/task/%u", WORDS->worker);
		} while (WORDS->stage == ULP_BOOTSTRAP_STARTED || access(path, F_OK) == 0);
	}
}

/* In a process of its own, as the runtime never leaves one. */
static void apart(void (*part)(void))
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		CHECK(!is_mapped("libpulp.so"));
		part();
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
	apart(from_a_file);
	apart(from_bytes);
	apart(without_bytes);
	apart(refused);
	apart(interrupted);
	apart(while_forking);
	return 0;
}
