/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The functions are looked up in the C library itself, not bound by the loader: the program, or
 * the target, may have functions of the same names.  In a process that is never patched nobody
 * looks.
 */
#include <elf.h>
#include <stddef.h>

#include "runtime/blocked_calls.h"
#include "runtime/image_table.h"

static const char *const system_calls[] = {
	"nanosleep",     "clock_nanosleep",
	"usleep",        "sleep",
	"poll",          "ppoll",
	"select",        "pselect",
	"epoll_wait",    "epoll_pwait",
	"read",          "readv",
	"pread",         "pread64",
	"preadv",        "preadv64",
	"write",         "writev",
	"pwrite",        "pwrite64",
	"pwritev",       "pwritev64",
	"recv",          "recvfrom",
	"recvmsg",       "recvmmsg",
	"send",          "sendto",
	"sendmsg",       "sendmmsg",
	"accept",        "accept4",
	"connect",       "pause",
	"sigsuspend",    "sigwait",
	"sigwaitinfo",   "sigtimedwait",
	"wait",          "waitpid",
	"waitid",        "wait3",
	"wait4",         "msgrcv",
	"msgsnd",        "semop",
	"semtimedop",    "flock",
	"fcntl",         "fcntl64",
	"ioctl",         "fsync",
	"fdatasync",     "syscall",
	"sched_yield",   "getpid",
	"getppid",       "kill",
	"clock_gettime", "gettimeofday",
	"time",
};

/*
 * Wrappers of calls that do not wait: a handler comes in when they end, as when sigprocmask() lets a
 * signal through, and may stay for as long as the process lives.  Calls for memory are not among
 * them: an allocator makes them, too, with its lock held.
 */
static const char *const brief_system_calls[] = {
	"sigprocmask",
	"pthread_sigmask",
	"sigaction",
	"sigpending",
	"sigaltstack",
	"tgkill",
	"killpg",
	"setitimer",
	"getitimer",
	"alarm",
	"epoll_create1",
	"epoll_ctl",
	"socket",
	"socketpair",
	"bind",
	"listen",
	"shutdown",
	"getsockopt",
	"setsockopt",
	"getsockname",
	"getpeername",
	"pipe",
	"pipe2",
	"dup",
	"dup2",
	"dup3",
	"close",
	"open",
	"openat",
	"lseek",
	"stat",
	"lstat",
	"fstat",
	"fstatat",
	"access",
	"ftruncate",
	"unlink",
	"rename",
	"mkdir",
	"rmdir",
	"readlink",
	"chdir",
	"umask",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getpgid",
	"setpgid",
	"setsid",
	"getrusage",
	"times",
	"prctl",
	"eventfd",
	"signalfd",
	"timerfd_create",
	"timerfd_settime",
};

static const char *const leaves[] = {
	"memcpy",  "memmove", "memset",  "memcmp", "memchr",  "strlen",
	"strnlen", "strcmp",  "strncmp", "strchr", "strrchr",
};

static const char *const condition_calls[] = {
	"pthread_cond_wait",
	"pthread_cond_timedwait",
	"pthread_cond_clockwait",
	"pthread_barrier_wait",
};

static const char *const lock_calls[] = {
	"pthread_mutex_lock",    "pthread_mutex_timedlock", "pthread_mutex_unlock",
	"pthread_rwlock_rdlock", "pthread_rwlock_wrlock",   "pthread_rwlock_unlock",
	"pthread_cond_signal",   "pthread_cond_broadcast",  "sem_wait",
	"sem_timedwait",         "sem_clockwait",           "sem_post",
};

static const char *const join_calls[] = {"pthread_join", "pthread_timedjoin_np"};

static const char *const exits[] = {"exit", "quick_exit", "pthread_exit"};

/* Programs, and libraries before the C library, bring their own: whoever comes first is called. */
static const char *const allocations[] = {
	"malloc", "calloc", "realloc", "free",   "memalign", "posix_memalign", "aligned_alloc",
	"valloc", "_Znwm",  "_Znam",   "_ZdlPv", "_ZdaPv",   "_ZdlPvm",        "_ZdaPvm",
};

/* A name may have several versions, at different addresses. */
#define CALLS 512

static struct call {
	uint64_t function;
	enum ulp_call_kind kind;
} calls[CALLS];
static unsigned call_count;

static void note(uint64_t address, enum ulp_call_kind kind)
{
	if (call_count < CALLS)
		calls[call_count++] = (struct call){address, kind};
}

static void note_call(uint64_t address, unsigned type, void *argument)
{
	enum ulp_call_kind kind = *(enum ulp_call_kind *)argument;
	uint64_t (*choose)(void) = (uint64_t(*)(void))address;

	if (type == STT_FUNC)
		note(address, kind);
	/* The C library chooses by what the processor can do, and anew whenever it is asked. */
	else if (type == STT_GNU_IFUNC && kind == ULP_CALL_LEAF)
		note(choose(), kind);
}

#define LOOK_UP(library, names, kind) look_up(library, names, sizeof(names) / sizeof *(names), kind)

static void look_up(const struct ulp_image *library, const char *const *names, unsigned count,
		    enum ulp_call_kind kind)
{
	for (unsigned i = 0; i < count; i++)
		ulp_image_symbols(library, names[i], note_call, &kind);
}

#define ALLOCATIONS (sizeof allocations / sizeof *allocations)

static bool look_up_allocations(const struct ulp_image *image, void *argument)
{
	uint64_t *found = argument;

	for (unsigned i = 0; i < ALLOCATIONS; i++)
		if (!found[i])
			found[i] = ulp_image_function(image, allocations[i]);
	return true;
}

uint64_t ulp_calls_learn(const struct ulp_image *c_library)
{
	uint64_t found[ALLOCATIONS] = {0};

	LOOK_UP(c_library, system_calls, ULP_CALL_SYSTEM);
	LOOK_UP(c_library, brief_system_calls, ULP_CALL_SYSTEM);
	LOOK_UP(c_library, condition_calls, ULP_CALL_CONDITION);
	LOOK_UP(c_library, lock_calls, ULP_CALL_LOCK);
	LOOK_UP(c_library, leaves, ULP_CALL_LEAF);
	LOOK_UP(c_library, join_calls, ULP_CALL_JOIN);
	LOOK_UP(c_library, exits, ULP_CALL_EXIT);
	ulp_images_each(look_up_allocations, found);
	for (unsigned i = 0; i < ALLOCATIONS; i++)
		if (found[i])
			note(found[i], ULP_CALL_ALLOCATE);
	return found[0];
}

enum ulp_call_kind ulp_call_kind(uint64_t function)
{
	for (unsigned i = 0; i < call_count; i++)
		if (calls[i].function == function)
			return calls[i].kind;
	return ULP_CALL_UNKNOWN;
}
