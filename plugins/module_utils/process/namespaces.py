# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces of a process (namespaces(7)): is what it calls a file or a PID what we call so?

/proc/PID/root leads into a process's own tree of mounts, but an absolute
symbolic link on the way leads out again, into ours; so no link is followed.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache

from ..errors import FileProblem
from .errors import ProcessGone
from .foreign_file import find_inside, walk_inside
from .procfs import explained, parse_stat, read_bytes, read_stat, read_status, text_lines

# Bits of a directory's or file's mode, for "others".
_SEARCH = 1
_READ = 4
# Bytes: more than the file has.
_PIECE = 8192


@lru_cache(maxsize=None)
def _own(kind):
    ours = os.stat(f"/proc/self/{kind}")
    return ours.st_dev, ours.st_ino


def _shares(pid, kind):
    try:
        theirs = os.stat(f"/proc/{pid}/{kind}")
    except OSError as error:
        raise explained(pid, error) from error
    return (theirs.st_dev, theirs.st_ino) == _own(kind)


def shares_pid_namespace(pid):
    """Whether ``pid`` numbers processes as we do; raises ProcessGone, ProcessForbidden."""
    return _shares(pid, "ns/pid")


def shares_root(pid):
    """Whether ``pid`` has our root directory: it is not in a container, nor after chroot(2).

    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    return _shares(pid, "root")


def inner_thread_id(pid, tid):
    """The number that thread ``tid`` of ``pid`` has in its own PID namespace: what gettid() tells it."""
    return read_status(pid, tid).namespace_pids[-1]


def boot_time_ahead(pid):
    """By how many nanoseconds CLOCK_BOOTTIME is ahead of ours for process ``pid`` (time_namespaces(7)).

    :raises ProcessGone, ProcessForbidden: as procfs.read_bytes().
    """
    try:
        if _shares(pid, "ns/time"):
            return 0
    except ProcessGone:
        # The process has ended, or the kernel has no such namespaces; the former shows soon enough.
        return 0
    return _boot_time_offset(pid) - _boot_time_offset("self")


def _boot_time_offset(pid):
    """The same, ahead of the machine's own."""
    for line in text_lines(read_bytes(pid, "timens_offsets")):
        clock, seconds, nanoseconds = line.split()
        if clock == b"boottime":
            return int(seconds) * 1000000000 + int(nanoseconds)
    return 0


def can_load(pid, path):
    """Whether process ``pid`` can load ``path``, and finds the very file there that it is for us.

    It does not when it has another tree of mounts with another file there or none, when its user may not read
    the file, or when nothing may be executed from there.  Access control lists are not looked at.

    :param path: absolute, without symbolic links.
    :raises FileProblem: we do not see the file ourselves.
    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    try:
        ours = os.stat(path)
    except OSError as error:
        raise FileProblem("read", path, error) from error
    status = read_status(pid)
    # Root, unless of a user namespace of its own.
    all_powerful = status.uid == 0 and _shares(pid, "ns/user")
    try:
        for found, last in walk_inside(pid, path):
            theirs = found.status
            if not (stat.S_ISREG if last else stat.S_ISDIR)(theirs.st_mode):
                return False
            if not all_powerful and not _may(status, theirs, _READ if last else _SEARCH):
                return False
            if last:
                return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) and not (
                    os.fstatvfs(found.descriptor).f_flag & os.ST_NOEXEC
                )
        return False
    except OSError:
        # What else keeps us from looking there, as a file system of another user (FUSE) does, says nothing about
        # the process.  Tells what is missing there from a missing process, and from one that we may not look at.
        _look_at_root(pid)
        return False


def _look_at_root(pid):
    """Raise ProcessGone or ProcessForbidden if it is the process that cannot be looked at."""
    try:
        os.readlink(f"/proc/{pid}/root")
    except OSError as error:
        raise explained(pid, error) from error


def _may(status, found, bit):
    """Whether the process with this Status may do what ``bit`` of the mode stands for; inode(7)."""
    if status.uid == found.st_uid:
        return bool(found.st_mode & bit << 6)
    if found.st_gid in status.groups:
        return bool(found.st_mode & bit << 3)
    return bool(found.st_mode & bit)


def sees_itself_in_proc(pid):
    """Whether process ``pid`` has a /proc in which it finds itself; True also where nobody but itself can tell.

    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    born = read_stat(pid).start_ticks
    _look_at_root(pid)
    # A proc file system shows the numbers of one PID namespace, not always that of whoever looks.
    for number in read_status(pid).namespace_pids:
        try:
            if _start_ticks_inside(pid, number) == born:
                return True
        except PermissionError:
            return True
        except (OSError, ValueError, IndexError):
            continue
    return False


def _start_ticks_inside(pid, number):
    """The start time that the /proc of process ``pid`` has for process ``number``; OSError, ValueError: none."""
    with find_inside(pid, f"/proc/{number}/stat") as found:
        descriptor = found.open()
    try:
        return parse_stat(os.read(descriptor, _PIECE)).start_ticks
    finally:
        os.close(descriptor)
