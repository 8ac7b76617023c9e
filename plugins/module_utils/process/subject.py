# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process, examined: can it be livepatched, and if not, why not?

Nothing here touches the process; reading is all.
"""

from __future__ import annotations

import os
import re

from ..arch.elf_format import NAME
from ..named_tuple import NamedTuple
from ..printable import printable
from .control_group import frozen_group
from .errors import (
    KernelThread,
    NoRuntime,
    ProcessDead,
    ProcessGone,
    ProcessUnavailable,
    ProcessUnpatchable,
    RuntimeAbsent,
    StateUnsettled,
)
from .foreign_file import find
from .maps import (
    Mapping,
    MemoryMap,
    read_code_maps,
    runs_on_musl,
    runs_under_wine,
    runtime_mapping,
    translator,
)
from .memory import may_write
from .patience import Patience
from .procfs import (
    ENDED_STATES,
    PF_EXITING,
    PF_KTHREAD,
    Identity,
    explained,
    process_name,
    read_stat,
    read_status,
    thread_ids,
)
from .random_bytes import NONE, RandomBytes, random_bytes
from .runtime import NO_RUNTIME, RuntimeState, read_state, state_address
from .survey import UNREACHABLE, survey

# How long the state block may go on changing (patience.Patience), and between two looks at it; in seconds.
SETTLE_SECONDS = 2.0
SETTLE_PAUSE = 0.002

_STOPPED = {
    "T": "is stopped by a signal; continue it first (SIGCONT)",
    "t": "is stopped by a debugger; detach that first",
}


class Subject(NamedTuple):
    """A process that has the runtime in it."""

    pid: int
    proc_tid: int  # the thread through which /proc shows its memory: the main one, unless that has ended
    name: str
    identity: Identity
    threads: int
    mappings: list[Mapping]  # the executable ones
    state: RuntimeState
    random_bytes: RandomBytes = NONE  # of the program that has all this


def _goes_on(stat):
    return stat.state not in ENDED_STATES and not stat.flags & PF_EXITING


def alive(pid):
    """(Stat, TID to look through) of a process that could have user code in it.

    :raises ProcessGone: it does not exist.
    :raises KernelThread: it is one.
    :raises ProcessDead: it is a zombie.
    """
    stat = read_stat(pid)
    if stat.flags & PF_KTHREAD:
        raise KernelThread(pid, f"process {pid} ({stat.name}) is a kernel thread")
    if _goes_on(stat):
        return stat, pid
    # The main thread may end, by pthread_exit(3), before the others.
    for tid in thread_ids(pid):
        try:
            if tid != pid and _goes_on(read_stat(pid, tid)):
                return stat, tid
        except ProcessGone:
            continue
    if stat.state not in ENDED_STATES:
        return stat, pid
    raise ProcessDead(pid, f"process {pid} ({stat.name}) has ended already and is a zombie")


def has_ended(pid):
    """Whether no thread of process ``pid`` executes code of its program any more: it has ended, or is about to."""
    try:
        return not _goes_on(read_stat(pid)) and not any(_goes_on(read_stat(pid, tid)) for tid in thread_ids(pid))
    except ProcessGone:
        # A thread that ended between two looks is none; so is a process.
        return _has_gone(pid)


def _has_gone(pid):
    try:
        alive(pid)
    except (ProcessGone, ProcessDead):
        return True
    return False


def goes_on_without(proc_tid, pid):
    """Whether thread ``proc_tid``, through which process ``pid`` was looked at, has ended and the process has not.

    What /proc showed of it was not all then.  Only the main thread can end so, so that nobody looks again for ever.

    :raises ProcessGone, ProcessDead: the process has ended, too.
    """
    return alive(pid)[1] != proc_tid == pid


def _program(pid, proc_tid):
    """The survey.Survey of the program that process ``pid`` runs, or None."""
    try:
        found = find(f"/proc/{proc_tid}/exe")
    except OSError as error:
        raise explained(pid, error) from error
    try:
        with found:
            descriptor = found.open()
    except OSError:
        return UNREACHABLE
    try:
        return survey(descriptor)
    finally:
        os.close(descriptor)


def _is_static(program):
    return program is not None and program.native and not program.interpreter and program.soname is None


def is_statically_linked(pid, proc_tid):
    """Whether process ``pid`` runs a program without a dynamic loader: what it has of a library is part of it.

    :param proc_tid: a thread of it that has not ended.
    :raises ProcessGone: it has ended.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    return _is_static(_program(pid, proc_tid))


def without_runtime(pid, proc_tid, name, mappings):
    """The NoRuntime that says why process ``pid`` has no runtime in it.

    :param mappings: its executable ones (maps.Mapping).
    :raises ProcessGone: it has ended.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    program = _program(pid, proc_tid)
    if program is not None and program.obstacle is not None:
        return NoRuntime(
            pid, f"process {pid} ({name}) was started without the livepatch runtime, and its program {program.obstacle}"
        )
    if program is not None and not program.native:
        return NoRuntime(pid, f"process {pid} ({name}) runs a program for another architecture than {NAME}")
    if _is_static(program):
        return NoRuntime(pid, f"process {pid} ({name}) runs a statically linked program: no library to patch")
    if runs_on_musl(mappings):
        return NoRuntime(
            pid,
            f"process {pid} ({name}) runs on musl, and the livepatch runtime is for the GNU C library alone: with it"
            " preloaded the program would not start; restart it with the fixed library",
        )
    return RuntimeAbsent(
        pid,
        f"process {pid} ({name}) was started without the livepatch runtime, which an apply loads where attaching is not"
        " turned off",
    )


def examine(pid, files, absent=False, identified=True) -> Subject:
    """Look at process ``pid``.

    :param files: mapped.MappedFiles.
    :param absent: take a process without the runtime, too, if that could be loaded into it; its state is NO_RUNTIME.
    :param identified: read its random bytes, too, which only who is going to change it needs.
    :return: Subject, of a process that has the runtime.
    :raises ProcessGone: it does not exist.
    :raises ProcessForbidden: it may not be examined.
    :raises ProcessUnpatchable: it cannot be livepatched, and why.
    :raises StateUnreadable: its runtime is of another version, or damaged.
    :raises StateUnsettled: its state was being changed.
    """
    stat, proc_tid = alive(pid)
    try:
        return _seen_through(proc_tid, pid, stat, files, absent, identified)
    except (ProcessGone, ProcessUnpatchable):
        if not goes_on_without(proc_tid, pid):
            raise
    stat, proc_tid = alive(pid)
    return _seen_through(proc_tid, pid, stat, files, absent, identified)


def examining(pid, files, absent=False):
    """As examine(), but a generator, which looks again while the state block is being changed; see at_rest()."""
    def look():
        yield from ()
        return examine(pid, files, absent)

    return at_rest(look)


def at_rest(look):
    """What ``look()`` returns, a generator that reads a state block: again and again while that is being changed.

    A generator itself, which gives the seconds to wait until it looks again, so that nobody else has to wait.

    :raises StateUnsettled: it does not come to rest.
    :raises: as ``look``.
    """
    patience = None
    while True:
        try:
            return (yield from look())
        except StateUnsettled as error:
            patience = patience or Patience(error.pid, SETTLE_SECONDS)
            if patience.is_over():
                raise
        yield SETTLE_PAUSE


def _seen_through(proc_tid, pid, stat, files, absent, identified):
    """The Subject that process ``pid`` is by what /proc shows of its thread ``proc_tid``."""
    # Before all that may turn out to be of another program.
    its_random_bytes = random_bytes(proc_tid) if identified else NONE
    memory_map = MemoryMap(proc_tid)
    mappings = memory_map.code
    tool = translator(mappings)
    if tool is not None:
        raise ProcessUnpatchable(
            pid,
            f"process {pid} ({stat.name}) runs under {tool}, which executes a translation of its code, so that hooks"
            f" in the code change nothing; restart it without {tool}",
        )
    mapping = runtime_mapping(mappings)
    if mapping is None:
        why = without_runtime(pid, proc_tid, stat.name, mappings)
        if not absent or not isinstance(why, RuntimeAbsent):
            raise why
    return Subject(
        pid=pid,
        proc_tid=proc_tid,
        name=process_name(pid, stat.name),
        identity=Identity(pid, stat.start_ticks),
        threads=stat.threads,
        mappings=mappings,
        state=NO_RUNTIME if mapping is None else read_state(
            proc_tid, state_address(proc_tid, mapping, files), memory_map),
        random_bytes=its_random_bytes,
    )


def kernel_version():
    """(major, minor) of the kernel that runs, as uname(2) gives it."""
    return tuple(int(number) for number in re.findall(r"[0-9]+", os.uname().release)[:2])


def _hides_dispatch(version):
    """Whether this kernel has PR_SET_SYSCALL_USER_DISPATCH (prctl(2)), and tells no tracer of it."""
    return (5, 11) <= version < (6, 4)


def require_available(pid, proc_tid):
    """Make sure that a thread of the process may be held now.

    :param proc_tid: a thread of it that has not ended.

    :raises ProcessUnavailable: it is stopped or frozen, or a debugger holds it, or this user may not.
    :raises ProcessUnpatchable: its kernel protects return addresses in a way that diversion would break, or may hide
        that its system calls come to the program itself.
    """
    stat = read_stat(pid)
    status = read_status(pid)
    if status.tracer_pid:
        raise ProcessUnavailable(
            pid, f"process {pid} ({stat.name}) is traced by process {status.tracer_pid}, a debugger; detach that first"
        )
    if stat.state in _STOPPED:
        raise ProcessUnavailable(pid, f"process {pid} ({stat.name}) {_STOPPED[stat.state]}")
    frozen = frozen_group(proc_tid)
    if frozen is not None:
        raise ProcessUnavailable(
            pid,
            f"process {pid} ({stat.name}) is frozen, with all of the control group {printable(frozen)}; thaw that first"
            " (systemctl thaw UNIT, podman unpause or docker unpause)",
        )
    if status.shadow_stack:
        raise ProcessUnpatchable(
            pid,
            f"process {pid} ({stat.name}) runs with a shadow stack, so that no thread can be borrowed; restart it with"
            " the fixed library, or without a shadow stack (GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)",
        )
    if _hides_dispatch(kernel_version()) and runs_under_wine(read_code_maps(proc_tid)):
        raise ProcessUnpatchable(
            pid,
            f"process {pid} ({stat.name}) runs under Wine, which may have the kernel send system calls to the program"
            " itself: a borrowed thread would end it then, and Linux tells of that only from 6.4 on",
        )
    if not may_write(proc_tid):
        raise ProcessUnavailable(
            pid,
            f"process {pid} ({stat.name}) may not be traced by this user: it belongs to somebody else, or"
            " kernel.yama.ptrace_scope forbids it; run as root",
        )
