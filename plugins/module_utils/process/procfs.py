# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes and threads as /proc shows them (proc(5)).

Raw reads, because a look at a thousand processes must take less than half a
second; every function here opens one or two files.
"""

from __future__ import annotations

import errno
import os

from ..arch.frames import SHADOW_STACK, SHADOW_STACK_FIELD
from ..errors import UlpError
from ..named_tuple import NamedTuple
from ..printable import printable
from .errors import ProcessError, ProcessForbidden, ProcessGone, TakesTooLong

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# include/linux/sched.h: the task is a kernel thread.
PF_KTHREAD = 0x00200000
# It is about to let go of its memory, or has.
PF_EXITING = 0x00000004
# It was forked, and has not executed a program since.
PF_FORKNOEXEC = 0x00000040
# A worker of io_uring: listed among a process's threads, but it never executes the process's code.
PF_IO_WORKER = 0x00000010
# include/uapi/linux/personality.h: addresses are not random.
ADDR_NO_RANDOMIZE = 0x00040000
# The state of a thread that executes, or could, proc_pid_stat(5).
RUNNABLE = "R"
# The states of a thread that has ended, proc_pid_stat(5).
ENDED_STATES = ("Z", "X")
# The kernel keeps 15 characters of a program's name.
COMM_LENGTH = 15
# Bytes: more than most files of one piece have, and less than what makes the allocator ask the kernel.
_PIECE = 8192
_LONG_PIECE = 65536
_LONGEST = 1 << 23

# Values of "Seccomp:" in /proc/PID/status.
SECCOMP_STRICT = 1
SECCOMP_FILTER = 2


class Identity(NamedTuple):
    """What tells a process from a later one with the same PID."""

    pid: int
    start_ticks: int  # clock ticks after boot


class Execution(NamedTuple):
    """What tells a process from itself after it has executed a program: execve(2) keeps PID and start time.

    Where addresses are not random, a process that executes its own program again, with arguments and an environment of
    the same length, shows no difference; see has_random_addresses().
    """

    start_ticks: int  # as Identity
    forked: bool  # it has executed nothing since it was forked
    addresses: tuple[int, ...]  # of code, data, heap, stack and arguments; zeros where this user may not see them


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that are used here."""

    name: str  # printable, as all names of processes
    state: str  # one letter: R S D T t Z X I
    flags: int
    threads: int
    start_ticks: int
    policy: int  # of scheduling: os.SCHED_OTHER, ...
    parent: int  # PID; 0: it is in no PID namespace that the reader sees


class Status(NamedTuple):
    """The fields of /proc/PID/status that are used here."""

    uid: int  # effective
    groups: tuple[int, ...]  # the effective one and the supplementary ones
    tracer_pid: int
    seccomp: int
    namespace_pids: tuple[int, ...]  # the PID in each PID namespace, the reader's first
    shadow_stack: bool
    pending: int  # a signal mask: bit N - 1 stands for signal N
    switches: int  # context switches so far


class SystemCall(NamedTuple):
    """Where a thread is, by /proc/PID/task/TID/syscall."""

    number: int  # -1: blocked, but not in a system call
    stack_pointer: int
    instruction_pointer: int


def read_bytes(pid, path):
    """The contents of ``/proc/PID/path``, a file that the kernel gives in one piece.

    :raises ProcessGone: there is no such process (any more).
    :raises ProcessForbidden: it belongs to somebody else.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = piece = os.read(descriptor, _PIECE)
            # The status of a process with some thousand groups is longer.
            while len(piece) == _PIECE:
                piece = os.read(descriptor, _PIECE)
                data += piece
            return data
        finally:
            os.close(descriptor)
    except OSError as error:
        raise explained(pid, error) from error


def read_beginning(pid, path):
    """The first _PIECE bytes of ``/proc/PID/path``; raises as read_bytes().

    A process says itself where its arguments begin and end (prctl(2), PR_SET_MM_MAP), and that may be terabytes.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _PIECE)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise explained(pid, error) from error


def text_lines(data):
    """The lines of ``data``, bytes of a file of /proc, without their ends.

    The kernel ends a line with a newline, and keeps that out of names.  Every other character may be in the name of a
    file, a control group or a mount point: carriage return, vertical tab, U+0085.  So neither str.splitlines() nor
    bytes.splitlines() will do, which take them for ends of lines.
    """
    found = data.split(b"\n")
    if not found[-1]:
        found.pop()
    return found


def read_long(pid, path, most=_LONGEST):
    """The contents of ``/proc/PID/path``, which may be long.

    :param most: how many bytes of it to read at most.
    :raises ProcessGone: there is no such process (any more).
    :raises ProcessForbidden: it belongs to somebody else.
    :raises TakesTooLong: it is longer than that.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            chunks: list[bytes] = []
            length = 0
            while length <= most:
                chunk = os.read(descriptor, _LONG_PIECE)
                if not chunk:
                    return b"".join(chunks)
                chunks.append(chunk)
                length += len(chunk)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise explained(pid, error) from error
    raise TakesTooLong(pid, f"its /proc/{pid}/{path} is longer than {most} bytes")


def explained(pid, error):
    """The ProcessError that says what OSError ``error`` means for process ``pid``."""
    if error.errno in (errno.ENOENT, errno.ESRCH):
        if _is_hidden(pid):
            return ProcessForbidden(
                pid, f"process {pid} is hidden from this user, as /proc is mounted with hidepid; run as root"
            )
        return ProcessGone(pid, f"process {pid} does not exist, or it has ended")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ProcessForbidden(
            pid, f"process {pid} may not be examined by this user; run as root or as the process's owner"
        )
    return ProcessForbidden(pid, f"process {pid} cannot be examined: {os.strerror(error.errno)}")


def _is_hidden(pid):
    """Whether there is such a process although /proc does not show it; proc(5), hidepid."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not os.path.lexists(f"/proc/{pid}")
    except (OSError, OverflowError):
        pass
    return False


def hides_processes():
    """Whether /proc keeps processes of other users from this one; proc(5), hidepid."""
    if os.geteuid() == 0:
        return False
    return parse_hidepid(read_long("self", "mountinfo"))


def parse_hidepid(data):
    """Whether the bytes of a mountinfo file say that /proc is mounted with hidepid."""
    mounts = [line.split(b" ") for line in text_lines(data)]
    # The last one covers those before it.
    options = [fields[-1] for fields in mounts if fields[4] == b"/proc"][-1:]
    return any(
        option.startswith(b"hidepid=") and option not in (b"hidepid=0", b"hidepid=off")
        for option in b",".join(options).split(b",")
    )


def require_own_proc():
    """Make sure that /proc numbers processes as we do, and shows any at all.

    :raises UlpError: it is not mounted, or it belongs to another PID namespace, and its numbers mean other processes.
    """
    try:
        shown = os.readlink("/proc/self")
    except OSError:
        shown = ""
    if shown != str(os.getpid()):
        raise UlpError(
            f"/proc does not show this process under its number {os.getpid()}: it is not mounted, or belongs to another"
            " PID namespace; mount it here (mount -t proc proc /proc)"
        )


def process_ids():
    """PIDs of all processes that can be seen, ascending."""
    return sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def parse_stat(data):
    """Stat from the bytes of a stat file; the name may hold spaces and parentheses."""
    opening = data.index(b"(")
    closing = data.rindex(b")")
    fields = data[closing + 2:].split()
    return Stat(
        name=printable(data[opening + 1:closing].decode("utf-8", "replace")),
        state=fields[0].decode("ascii"),
        flags=int(fields[6]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        policy=int(fields[38]),
        parent=int(fields[1]),
    )


def read_stat(pid, tid=None):
    """Stat of process ``pid``, or of its thread ``tid``; raises ProcessGone, ProcessForbidden."""
    return parse_stat(read_bytes(pid, "stat" if tid is None else f"task/{tid}/stat"))


def _field(data, key, neutral=b"0"):
    # The first line is the name's, in which the kernel writes a newline as \n.
    start = data.find(b"\n" + key + b":")
    return neutral if start < 0 else data[start + len(key) + 2:].partition(b"\n")[0]


# seccomp_state() of a thread under no filter.
NO_FILTERS = (0, 0)


def seccomp_state(data):
    """From the bytes of a status file, (mode, number of filters): what changes when a thread gets a seccomp filter.

    Before Linux 5.9 the kernel does not tell the number, which is 0 then.
    """
    return int(_field(data, b"Seccomp")), int(_field(data, b"Seccomp_filters"))


def parse_status(data):
    """Status from the bytes of a status file; fields that the kernel does not write get their neutral value."""
    def field(key, neutral=b"0"):
        return _field(data, key, neutral)

    return Status(
        uid=int(field(b"Uid").split()[1]),
        groups=tuple(map(int, field(b"Gid").split()[1:2] + field(b"Groups", b"").split())),
        tracer_pid=int(field(b"TracerPid")),
        seccomp=int(field(b"Seccomp")),
        namespace_pids=tuple(map(int, field(b"NSpid", field(b"Pid")).split())),
        shadow_stack=SHADOW_STACK in field(SHADOW_STACK_FIELD, b""),
        pending=int(field(b"SigPnd"), 16) | int(field(b"ShdPnd"), 16),
        switches=int(field(b"voluntary_ctxt_switches")) + int(field(b"nonvoluntary_ctxt_switches")),
    )


def fatal_signal(pid):
    """The number of the signal that has ended process ``pid``, a zombie; 0: none did, or nobody can tell any more.

    Its parent takes the answer away, wait(2), and only who may trace the process gets it: proc_pid_stat(5), exit_code.
    """
    try:
        data = read_bytes(pid, "stat")
    except ProcessError:
        return 0
    fields = data[data.rindex(b")") + 2:].split()
    return int(fields[49]) & 0x7F if fields[0].decode("ascii") in ENDED_STATES else 0


def read_status(pid, tid=None):
    """Status of process ``pid``, or of its thread ``tid``; raises ProcessGone, ProcessForbidden."""
    return parse_status(read_bytes(pid, "status" if tid is None else f"task/{tid}/status"))


def thread_ids(pid):
    """The TIDs of all threads of ``pid``, ascending; perhaps also of some that have just ended.

    A list that is read while threads end may leave out one that is alive: so another one must add nothing to it.

    :raises ProcessGone, ProcessForbidden:
    """
    try:
        found = set(os.listdir(f"/proc/{pid}/task"))
        while True:
            again = found.union(os.listdir(f"/proc/{pid}/task"))
            if again == found:
                return sorted(int(entry) for entry in found)
            found = again
    except OSError as error:
        raise explained(pid, error) from error


def execution(pid):
    """The Execution of the process that has ``pid`` now, by proc_pid_stat(5); raises ProcessGone, ProcessForbidden."""
    data = read_bytes(pid, "stat")
    fields = data[data.rindex(b")") + 2:].split()
    return Execution(
        start_ticks=int(fields[19]),
        forked=bool(int(fields[6]) & PF_FORKNOEXEC),
        # startcode, endcode, startstack; start_data to env_end.
        addresses=tuple(int(field) for field in fields[23:26] + fields[42:49]),
    )


def has_random_addresses(pid):
    """Whether the program that process ``pid`` executes next will not lie where this one does: personality(2).

    :return: bool; True where this user may not see that.
    :raises ProcessGone: there is no such process (any more).
    """
    try:
        if int(read_bytes("sys", "kernel/randomize_va_space")) == 0:
            return False
        return not int(read_bytes(pid, "personality"), 16) & ADDR_NO_RANDOMIZE
    except ProcessForbidden:
        return True


def identity(pid):
    """The Identity of the process that has ``pid`` now; raises ProcessGone, ProcessForbidden."""
    return Identity(pid, _start_ticks(pid))


def _start_ticks(pid):
    """Stat.start_ticks alone; raises as read_stat()."""
    data = read_bytes(pid, "stat")
    return int(data[data.rindex(b")") + 2:].split(None, 20)[19])


def confirm(who):
    """Make sure that ``who`` (Identity) is still the process that has this PID.

    :raises ProcessGone: it has ended; its PID may belong to another by now.
    """
    if _start_ticks(who.pid) != who.start_ticks:
        raise ProcessGone(who.pid, f"process {who.pid} has ended, and its PID belongs to another process now")


def read_system_call(pid, tid):
    """Where thread ``tid`` of ``pid`` is blocked.

    :return: SystemCall, or None while the thread is running.
    :raises ProcessGone: the thread has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    fields = read_bytes(pid, f"task/{tid}/syscall").split()
    if not fields:
        raise ProcessGone(pid, f"thread {tid} of process {pid} has ended")
    if fields[0] == b"running":
        return None
    return SystemCall(int(fields[0]), int(fields[-2], 16), int(fields[-1], 16))


def times_run(pid, tid):
    """A number that grows whenever thread ``tid`` of ``pid`` is put on a processor or taken off it.

    :raises ProcessGone: the thread has ended.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    try:
        # A tenth of the cost of the status file; but a kernel may lack it, or keep no statistics: all zeros then.
        fields = read_bytes(pid, f"task/{tid}/schedstat").split()
        if int(fields[2]):
            return int(fields[2])
    except (ProcessGone, IndexError):
        pass
    return read_status(pid, tid).switches


def process_name(pid, comm):
    """The program's name; ``comm``, which the kernel cuts to 15 characters, completed where that is possible."""
    if len(comm) < COMM_LENGTH:
        return comm
    try:
        word = read_beginning(pid, "cmdline").partition(b"\0")[0]
    except ProcessError:
        return comm
    name = printable(os.path.basename(os.fsdecode(word)))
    return name if name.startswith(comm) else comm
