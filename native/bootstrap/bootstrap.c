/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loads the runtime into a process that was started without it: see "bootstrap" in ulp/abi.h.
 *
 * This code is copied to wherever there is room, so it has no library, no data that it could write
 * and no address of its own but relative ones; the head has the addresses that it needs.  The
 * diverted thread enters as in the runtime (request_entry.S), and its interrupted system call is
 * settled by the same code (restart.c).
 */
#include <linux/memfd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include <dlfcn.h>
#include <fcntl.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/restart.h"
#include "runtime/system_code.h"

/* Linux 6.3; see runtime/memory_file.c. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

#define WORKER_STACK_SIZE (512u << 10) /* the runtime's constructor runs on it, and the loader */
#define PAUSE_NS          1000000
#define FORK_PAUSES       200  /* a fork waits so long for the loader */
#define BYTES_PAUSES      5000 /* the worker waits so long for the runtime's bytes */

#define EINVAL_FROM_KERNEL (-22)

void ulp_entry(struct ulp_block *block);

/* Both as bootstrap.ld lays them out.  The core fills in the head, so the compiler may know nothing of it. */
extern const volatile struct ulp_bootstrap ulp_bootstrap __attribute__((visibility("hidden")));
extern const char ulp_bootstrap_path[] __attribute__((visibility("hidden")));

#define HEAD (&ulp_bootstrap)

_Static_assert(sizeof(struct ulp_bootstrap) == 128 &&
		       offsetof(struct ulp_bootstrap, has_avx) == 124,
	       "bootstrap.ld has these numbers");

static struct ulp_bootstrap_words *words(void)
{
	return (struct ulp_bootstrap_words *)HEAD->words;
}

bool ulp_system_code_in_c_library(uint64_t address)
{
	return address >= HEAD->c_library_start && address < HEAD->c_library_end;
}

bool ulp_system_code_in_syscall(uint64_t address)
{
	/* As in runtime/system_code.c. */
	return address >= HEAD->system_call && address < HEAD->system_call + 64;
}

static void end(enum ulp_bootstrap_stage stage, int error)
{
	words()->error = error;
	__atomic_store_n(&words()->stage, (uint32_t)stage, __ATOMIC_RELEASE);
}

static void pause_for_a_moment(void)
{
	const struct timespec moment = {0, PAUSE_NS};

	ulp_system_call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &moment, NULL);
}

/* ------------------------------------------------------------------ worker */

/* Whoever waited for the worker has given up: another claim stands there than the one that was begun. */
static bool withdrawn(void)
{
	return (uint32_t)words()->claim != words()->begun;
}

/* A child must not get a loader that is at work, which in the child would never end. */
static void before_fork(void)
{
	for (int i = 0; i < FORK_PAUSES; i++) {
		uint32_t stage = __atomic_load_n(&words()->stage, __ATOMIC_ACQUIRE);

		if (stage != ULP_BOOTSTRAP_STARTED || withdrawn())
			break;
		pause_for_a_moment();
	}
}

/* The worker is not in the child, whose own forks have nothing to wait for, but are led here still. */
static void in_child(void)
{
	words()->descriptor = ULP_BOOTSTRAP_FORKED;
	if (words()->stage == ULP_BOOTSTRAP_STARTED)
		end(ULP_BOOTSTRAP_REFUSED, 0);
}

/* Any address tells whose the handlers are. */
static void hold_forks(void)
{
	int (*register_atfork)(void (*)(void), void (*)(void), void (*)(void), void *) = (int (*)(
		void (*)(void), void (*)(void), void (*)(void), void *))HEAD->register_atfork;

	register_atfork(before_fork, NULL, in_child, (void *)HEAD);
}

static void let_forks_go(void)
{
	void (*finalize)(void *) = (void (*)(void *))HEAD->cxa_finalize;

	finalize((void *)HEAD);
}

/* "libpulp.so" in `maps`, as a file on disk would be called. */
static long create_memory_file(void)
{
	static const char name[] = "libpulp.so";
	long number = ulp_system_call(SYS_memfd_create, name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	if (number == EINVAL_FROM_KERNEL)
		number = ulp_system_call(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return number;
}

/* The core seals it when all is written, or only forbids further seals: it gave up. */
static bool bytes_came(long number)
{
	for (int i = 0; i < BYTES_PAUSES; i++) {
		long seals = ulp_system_call(SYS_fcntl, number, F_GET_SEALS);

		if (seals < 0 || seals & F_SEAL_SEAL)
			return seals >= 0 && (seals & SEALS) == SEALS;
		pause_for_a_moment();
	}
	return false;
}

/*
 * Two slashes: the loader knows libraries by their paths, and a livepatch that comes as bytes may
 * get the same number later (runtime/memory_file.c).
 */
static void path_of_descriptor(long number, char *path)
{
	static const char directory[] = "/proc/thread-self/fd//";
	char digits[12];
	int count = 0;

	for (unsigned i = 0; i < sizeof directory - 1; i++)
		*path++ = directory[i];
	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (count)
		*path++ = digits[--count];
	*path = '\0';
}

static void note_error(void)
{
	char *(*error)(void) = (char *(*)(void))HEAD->dlerror;
	const char *text = error();
	char *detail = words()->detail;

	uint32_t length = 0;

	for (; text && length + 1 < HEAD->detail_size && text[length]; length++)
		detail[length] = text[length];
	detail[length] = '\0';
}

/* Whoever takes this worker for lost has withdrawn its claim, and another may be at work by now. */
static void load(const char *path, uint64_t claim)
{
	void *(*open)(const char *, int) = (void *(*)(const char *, int))HEAD->dlopen;

	hold_forks();
	if (__atomic_load_n(&words()->claim, __ATOMIC_ACQUIRE) == claim) {
		if (open(path, RTLD_NOW)) {
			end(ULP_BOOTSTRAP_LOADED, 0);
		} else {
			note_error();
			end(ULP_BOOTSTRAP_REFUSED, 0);
		}
	}
	let_forks_go();
}

static void load_bytes(uint64_t claim)
{
	char path[64];
	long number = create_memory_file();

	if (number < 0) {
		end(ULP_BOOTSTRAP_NO_FILE, (int)-number);
		return;
	}
	words()->descriptor = (int32_t)number;
	__atomic_store_n(&words()->stage, ULP_BOOTSTRAP_WAITS, __ATOMIC_RELEASE);
	if (bytes_came(number)) {
		__atomic_store_n(&words()->stage, ULP_BOOTSTRAP_STARTED, __ATOMIC_RELEASE);
		path_of_descriptor(number, path);
		load(path, claim);
	} else {
		end(ULP_BOOTSTRAP_NO_FILE, 0);
	}
	ulp_system_call(SYS_close, number);
}

static void *work(void *argument)
{
	__atomic_store_n(&words()->worker, (uint32_t)ulp_system_call(SYS_gettid), __ATOMIC_RELEASE);
	if (words()->descriptor == ULP_BOOTSTRAP_FORKED) {
		let_forks_go();
		words()->descriptor = 0;
	}
	if (HEAD->brings_bytes)
		load_bytes((uint64_t)argument);
	else
		load(ulp_bootstrap_path, (uint64_t)argument);
	return NULL;
}

/* --------------------------------------------------------- diverted thread */

static int start_worker(uint64_t claim)
{
	int (*init)(pthread_attr_t *) = (int (*)(pthread_attr_t *))HEAD->pthread_attr_init;
	int (*set_size)(pthread_attr_t *, size_t) =
		(int (*)(pthread_attr_t *, size_t))HEAD->pthread_attr_setstacksize;
	int (*set_detached)(pthread_attr_t *, int) =
		(int (*)(pthread_attr_t *, int))HEAD->pthread_attr_setdetachstate;
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
		(int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
			 void *))HEAD->pthread_create;
	pthread_attr_t attributes;
	pthread_t thread;
	int error = init(&attributes);

	if (!error)
		error = set_detached(&attributes, PTHREAD_CREATE_DETACHED);
	if (error)
		return error;
	if (set_size(&attributes, WORKER_STACK_SIZE) == 0 &&
	    create(&thread, &attributes, work, (void *)claim) == 0)
		return 0;
	/* Thread-local storage is taken from the stack: there may be very much of it. */
	error = init(&attributes);
	if (!error)
		error = set_detached(&attributes, PTHREAD_CREATE_DETACHED);
	return error ? error : create(&thread, &attributes, work, (void *)claim);
}

static bool claim(const struct ulp_block *block)
{
	uint64_t found = block->expected;

	if (!__atomic_compare_exchange_n(&words()->claim, &found, block->nonce, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	words()->thread = (uint32_t)ulp_system_call(SYS_gettid);
	words()->worker = 0;
	words()->detail[0] = '\0';
	if (found && found >> 32 != block->nonce >> 32)
		words()->descriptor = ULP_BOOTSTRAP_FORKED;
	end(ULP_BOOTSTRAP_STARTED, 0);
	/* Until now the fields were those of an earlier attempt. */
	__atomic_store_n(&words()->begun, (uint32_t)block->nonce, __ATOMIC_RELEASE);
	return true;
}

/*
 * The C library has a new thread register what the one that starts it has registered, and aborts
 * where that fails, as under a seccomp filter that came later.  Without an area, the kernel calls
 * this invalid, and changes nothing.
 */
static bool rseq_is_denied(const struct ulp_block *block)
{
	return block->flags & ULP_BLOCK_HAS_RSEQ &&
	       ulp_system_call(SYS_rseq, 0L, 0L, 0L, 0L) != EINVAL_FROM_KERNEL;
}

static void carry_out(const struct ulp_block *block)
{
	int *(*errno_location)(void) = (int *(*)(void))HEAD->errno_location;
	int *error_number = errno_location(), before = *error_number;
	int error = start_worker(block->nonce);

	*error_number = before;
	if (error)
		end(ULP_BOOTSTRAP_NO_THREAD, error);
}

void ulp_entry(struct ulp_block *block)
{
	ulp_restart_block_signals();
	if (claim(block)) {
		if (rseq_is_denied(block))
			end(ULP_BOOTSTRAP_NO_RSEQ, 0);
		else
			carry_out(block);
	}
	ulp_restart_settle(block);
}
