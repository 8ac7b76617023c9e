# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Would a thread's seccomp filter kill the worker that the runtime starts from it?

The worker inherits the thread's filter.  A call that is denied with an error
makes it give up, or take another way; a call that kills ends the process.  So
what a filter says of every call is known before a thread is borrowed.
"""

from __future__ import annotations

from ...defaults import ASSUME_ERRNO
from ...named_tuple import NamedTuple
from ...process.errors import ProcessGone, ProcessUnpatchable
from ...process.procfs import SECCOMP_FILTER, SECCOMP_STRICT, read_bytes, read_status, seccomp_state, thread_ids
from ...process.seccomp import ALLOW, ERRNO, LOG, denied
from ...tracee.errors import StepFailed
from ...tracee.rseq import has_rseq
from ...tracee.seccomp_filters import fetch_filters, may_fetch, may_restart

_PROT_NONE = 0
_PROT_READ = 1
_PROT_READ_WRITE = 3
_PROT_READ_EXEC = 5
_PROT_ALL = 7
_MAP_PRIVATE = 2
_MAP_ANONYMOUS = 0x22
_AT_FDCWD = -100
_O_RDWR = 2
_CLONE_THREAD_FLAGS = 0x3D0F00
# What a filter may say of a call that need not work.
_HARMLESS = (ALLOW, LOG, ERRNO)

# (name, arguments) of what pthread_create(3), dlopen(3), writing code and ending a thread come down to.
NEEDED = (
    ("rt_sigprocmask", ()),
    ("rt_sigpending", ()),
    ("clone", (_CLONE_THREAD_FLAGS,)),
    ("mmap", (0, 4096, _PROT_NONE, _MAP_ANONYMOUS, -1)),
    ("mmap", (0, 4096, _PROT_READ_WRITE, _MAP_ANONYMOUS, -1)),
    ("mmap", (0, 4096, _PROT_READ_EXEC, _MAP_PRIVATE, 3)),
    ("mprotect", (0, 4096, _PROT_READ)),
    ("mprotect", (0, 4096, _PROT_READ_WRITE)),
    ("munmap", ()),
    ("openat", (_AT_FDCWD,)),
    ("read", ()),
    ("close", ()),
    ("futex", ()),
    ("membarrier", ()),
    ("exit", ()),
)
# What else a process needs that does not see the livepatch's file, or has functions without padding.
NEEDED_FOR_MEMORY_FILE = (
    ("memfd_create", ()),
    ("fcntl", ()),
)
RSEQ = ("rseq", ())
# With it the runtime reads objects that may be unloaded meanwhile; killed for it, it reads them without.
COPY = ("process_vm_readv", ())
# An error is no harm here: the caller has another way, or does without, or gives up.
TOLERATED = (
    ("clone3", ()),
    ("set_robust_list", ()),
    RSEQ,
    ("madvise", ()),
    ("sigaltstack", ()),
    ("pread64", ()),
    ("pwrite64", ()),
    ("openat", (_AT_FDCWD, 0, _O_RDWR)),
    ("mprotect", (0, 4096, _PROT_NONE)),
    # Only where /proc/self/mem does not serve, and where MemoryDenyWriteExecute= answers with an error.
    ("mprotect", (0, 4096, _PROT_ALL)),
    ("fstat", ()),
    ("newfstatat", ()),
    ("lseek", ()),
    ("readlink", ()),
    ("gettid", ()),
    ("getpid", ()),
    ("sched_yield", ()),
    ("sched_getaffinity", ()),
    ("clock_gettime", ()),
    ("clock_nanosleep", ()),
    ("prlimit64", ()),
    ("rt_sigaction", ()),
    ("brk", ()),
    ("mremap", ()),
    ("getrandom", ()),
    ("restart_syscall", ()),
)


class Permitted(NamedTuple):
    """What a thread's filters let it do beyond what patching needs."""

    restart: bool  # the kernel may go on with a sleep of the thread that was interrupted (restart_syscall(2))
    copy: bool  # process_vm_readv(2) does not kill: abi.BLOCK_MAY_COPY
    filters: tuple[int, int]  # procfs.seccomp_state(), as it was then


def require_no_strict_thread(pid):
    """Make sure that no thread is in strict mode, in which all that an entry check may need is forbidden.

    :raises ProcessUnpatchable: one is.
    """
    for tid in thread_ids(pid):
        try:
            strict = read_status(pid, tid).seccomp == SECCOMP_STRICT
        except ProcessGone:
            continue
        if strict:
            raise ProcessUnpatchable(
                pid, f"process {pid} runs in strict seccomp mode, which permits no livepatching"
                if tid == pid else f"thread {tid} of process {pid} runs in strict seccomp mode, in which it would not"
                " survive the entry check of a patched library"
            )


def seccomp_reservation(pid, tid, unexaminable):
    """What can be said of thread ``tid`` without holding it.

    :param unexaminable: defaults.EXAMINE or ASSUME_ERRNO, for a filter that the kernel does not show.
    :return: a sentence about what cannot be foreseen, or "".
    :raises ProcessUnpatchable: it will be refused.
    """
    mode = read_status(pid, tid).seccomp
    if mode != SECCOMP_FILTER:
        return ""
    if may_fetch():
        return f"process {pid} runs under a seccomp filter, which is only looked at when the livepatch is applied"
    if unexaminable == ASSUME_ERRNO:
        return ""
    raise ProcessUnpatchable(
        pid,
        f"process {pid} runs under a seccomp filter that cannot be examined from here; run as root of the machine,"
        " outside of containers and filters, or say that the filter denies with an error and does not kill"
        " (seccomp: assume_errno)",
    )


def require_permitted(pid, tid, makes_file, unexaminable):
    """Make sure that no system call that the runtime needs is denied to thread ``tid``.

    :param makes_file: whether the runtime is going to make a file in memory.
    :param unexaminable: as seccomp_reservation().
    :return: Permitted.
    :raises ProcessUnpatchable: one is; the sentence names it.
    :raises ThreadRefused: the thread could not be held to ask.
    """
    filters = seccomp_state(read_bytes(pid, f"task/{tid}/status"))
    if filters[0] != SECCOMP_FILTER or not seccomp_reservation(pid, tid, unexaminable):
        return Permitted(restart=True, copy=True, filters=filters)
    try:
        programs = fetch_filters(pid, tid)
    except StepFailed as error:
        # A kernel without checkpoint and restore, say.
        if unexaminable == ASSUME_ERRNO:
            return Permitted(restart=True, copy=True, filters=filters)
        raise ProcessUnpatchable(
            pid, f"process {pid} runs under a seccomp filter that cannot be examined: {error}"
        ) from error
    needed = NEEDED + NEEDED_FOR_MEMORY_FILE if makes_file else NEEDED
    try:
        name = denied(programs, needed) or denied(programs, TOLERATED, _HARMLESS)
        copy = denied(programs, (COPY,), _HARMLESS) is None
    except ValueError as error:
        raise ProcessUnpatchable(
            pid, f"process {pid} runs under a seccomp filter that makes no sense: {error}"
        ) from error
    if name is not None:
        raise ProcessUnpatchable(
            pid, f"process {pid} runs under a seccomp filter that denies the system call {name}, which patching needs"
        )
    restarts = may_restart(programs)
    if denied(programs, (RSEQ,)) and has_rseq(pid, tid, restarts, filters):
        raise ProcessUnpatchable(
            pid,
            f"process {pid} runs under a seccomp filter that denies the system call rseq, but has used it before the"
            " filter was there: the C library would end the process when it starts a thread for the livepatch",
        )
    return Permitted(restarts, copy, filters)
