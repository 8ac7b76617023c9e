# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions of the C library by what a thread that is in one of them may hold.

native/runtime/blocked_calls.c has the like for the runtime.
"""

from __future__ import annotations

# The thread waits to be told something, and has let go of the lock that belongs to it; it may hold others of its own.
CONDITION_CALLS = (
    "pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait", "pthread_barrier_wait", "pthread_join",
    "pthread_timedjoin_np", "pthread_clockjoin_np",
)
# What a program calls to wait for a lock of its own, or for anything else; then the C library holds none itself.
LOCK_CALLS = (
    *CONDITION_CALLS, "pthread_mutex_lock", "pthread_mutex_timedlock", "pthread_mutex_clocklock",
    "pthread_rwlock_rdlock", "pthread_rwlock_wrlock", "pthread_rwlock_timedrdlock", "pthread_rwlock_timedwrlock",
    "sem_wait", "sem_timedwait", "sem_clockwait", "syscall",
)
# They make a system call and hold nothing: a signal handler that has interrupted one may do what its caller may.
# Calls for memory are not among them, as an allocator makes those with its lock held.
PLAIN_CALLS = (
    "accept", "accept4", "clock_nanosleep", "close", "connect", "epoll_ctl", "epoll_pwait", "epoll_wait", "fcntl",
    "fcntl64", "fdatasync", "flock", "fsync", "ioctl", "kill", "msgrcv", "msgsnd", "nanosleep", "open", "open64",
    "openat", "openat64", "pause", "poll", "ppoll", "pread", "pread64", "preadv", "preadv64", "pselect",
    "pthread_sigmask", "pwrite", "pwrite64", "pwritev", "pwritev64", "read", "readv", "recv", "recvfrom", "recvmmsg",
    "recvmsg", "select", "semop", "semtimedop", "send", "sendmmsg", "sendmsg", "sendto", "setitimer", "sigprocmask",
    "sigsuspend", "sigtimedwait", "sigwait", "sigwaitinfo", "sleep", "syscall", "usleep", "wait", "wait3", "wait4",
    "waitid", "waitpid", "write", "writev",
)
EXITS = ("exit", "quick_exit", "pthread_exit")
