# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system calls of x86-64.

Sources: arch/x86/entry/syscalls/syscall_64.tbl of the kernel; linux/audit.h (AUDIT_ARCH_X86_64).
"""

from __future__ import annotations

AUDIT_ARCHITECTURE = 0xC000003E

NUMBERS: dict[str, int | None] = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20,
    "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "connect": 42, "accept": 43,
    "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "clone": 56, "exit": 60, "semop": 65, "fcntl": 72,
    "readlink": 89, "rt_sigpending": 127, "rt_sigtimedwait": 128, "sigaltstack": 131, "gettid": 186, "futex": 202,
    "sched_getaffinity": 204, "io_getevents": 208, "restart_syscall": 219, "semtimedop": 220, "clock_gettime": 228,
    "clock_nanosleep": 230, "epoll_wait": 232, "openat": 257, "newfstatat": 262, "set_robust_list": 273,
    "epoll_pwait": 281, "accept4": 288, "recvmmsg": 299, "prlimit64": 302, "sendmmsg": 307, "process_vm_readv": 310,
    "getrandom": 318,
    "memfd_create": 319, "membarrier": 324, "io_pgetevents": 333, "rseq": 334, "io_uring_enter": 426, "clone3": 435,
    "epoll_pwait2": 441,
}
