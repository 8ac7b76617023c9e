/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The addresses are put in by the loader, as for any reference to these functions,
 * so nothing has to be looked up in a process that is never patched.
 */
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/blocked_calls.h"

#define F(name) ((const void *)name)

static const void *const system_calls[] = {
	F(nanosleep),  F(clock_nanosleep), F(usleep),      F(sleep),         F(poll),
	F(ppoll),      F(select),          F(pselect),     F(epoll_wait),    F(epoll_pwait),
	F(read),       F(readv),           F(pread),       F(preadv),        F(write),
	F(writev),     F(pwrite),          F(pwritev),     F(recv),          F(recvfrom),
	F(recvmsg),    F(recvmmsg),        F(send),        F(sendto),        F(sendmsg),
	F(sendmmsg),   F(accept),          F(accept4),     F(connect),       F(pause),
	F(sigsuspend), F(sigwait),         F(sigwaitinfo), F(sigtimedwait),  F(wait),
	F(waitpid),    F(waitid),          F(wait3),       F(wait4),         F(msgrcv),
	F(msgsnd),     F(semop),           F(semtimedop),  F(flock),         F(fcntl),
	F(ioctl),      F(fsync),           F(fdatasync),   F(syscall),       F(sched_yield),
	F(getpid),     F(getppid),         F(kill),        F(clock_gettime), F(gettimeofday),
	F(time),
};

/*
 * Wrappers of calls that do not wait: a handler comes in when they end, as when sigprocmask() lets a
 * signal through, and may stay for as long as the process lives.  Calls for memory are not among
 * them: an allocator makes them, too, with its lock held.
 */
static const void *const brief_system_calls[] = {
	F(sigprocmask),
	F(pthread_sigmask),
	F(sigaction),
	F(sigpending),
	F(sigaltstack),
	F(tgkill),
	F(killpg),
	F(setitimer),
	F(getitimer),
	F(alarm),
	F(epoll_create1),
	F(epoll_ctl),
	F(socket),
	F(socketpair),
	F(bind),
	F(listen),
	F(shutdown),
	F(getsockopt),
	F(setsockopt),
	F(getsockname),
	F(getpeername),
	F(pipe),
	F(pipe2),
	F(dup),
	F(dup2),
	F(dup3),
	F(close),
	F(open),
	F(openat),
	F(lseek),
	F(stat),
	F(lstat),
	F(fstat),
	F(fstatat),
	F(access),
	F(ftruncate),
	F(unlink),
	F(rename),
	F(mkdir),
	F(rmdir),
	F(readlink),
	F(chdir),
	F(umask),
	F(getuid),
	F(geteuid),
	F(getgid),
	F(getegid),
	F(getpgid),
	F(setpgid),
	F(setsid),
	F(getrusage),
	F(times),
	F(prctl),
	F(eventfd),
	F(signalfd),
	F(timerfd_create),
	F(timerfd_settime),
};

static const void *const leaves[] = {
	F(memcpy),  F(memmove), F(memset),  F(memcmp), F(memchr),  F(strlen),
	F(strnlen), F(strcmp),  F(strncmp), F(strchr), F(strrchr),
};

static const void *const lock_calls[] = {
	F(pthread_cond_wait),
	F(pthread_cond_timedwait),
	F(pthread_cond_clockwait),
	F(pthread_mutex_lock),
	F(pthread_mutex_timedlock),
	F(pthread_mutex_unlock),
	F(pthread_rwlock_rdlock),
	F(pthread_rwlock_wrlock),
	F(pthread_rwlock_unlock),
	F(pthread_barrier_wait),
	F(pthread_cond_signal),
	F(pthread_cond_broadcast),
	F(sem_wait),
	F(sem_timedwait),
	F(sem_clockwait),
	F(sem_post),
};

static const void *const join_calls[] = {
	F(pthread_join),
	F(pthread_timedjoin_np),
};

/* C++ programs bring their own ones, too; they are there only if the C++ library is. */
#define CXX(name) extern void name(void) __attribute__((weak))
CXX(_Znwm);
CXX(_Znam);
CXX(_ZdlPv);
CXX(_ZdaPv);
CXX(_ZdlPvm);
CXX(_ZdaPvm);

static const void *const allocations[] = {
	F(malloc),         F(calloc),        F(realloc), F(free),    F(memalign),
	F(posix_memalign), F(aligned_alloc), F(valloc),  F(_Znwm),   F(_Znam),
	F(_ZdlPv),         F(_ZdaPv),        F(_ZdlPvm), F(_ZdaPvm),
};

#define LISTED(list, function) listed(list, sizeof(list) / sizeof *(list), function)

static bool listed(const void *const *list, unsigned count, uint64_t function)
{
	for (unsigned i = 0; i < count; i++)
		if ((uint64_t)list[i] == function)
			return true;
	return false;
}

enum ulp_call_kind ulp_call_kind(uint64_t function)
{
	if (LISTED(system_calls, function) || LISTED(brief_system_calls, function))
		return ULP_CALL_SYSTEM;
	if (LISTED(lock_calls, function))
		return ULP_CALL_LOCK;
	if (function && LISTED(allocations, function))
		return ULP_CALL_ALLOCATE;
	if (LISTED(leaves, function))
		return ULP_CALL_LEAF;
	if (LISTED(join_calls, function))
		return ULP_CALL_JOIN;
	return ULP_CALL_UNKNOWN;
}
