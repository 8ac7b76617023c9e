# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open files to which somebody else has led us.

Root opens what a process shows, and whoever owns the process may show anything:
a FIFO, a device, a symbolic link to a directory that only root may see, a file
on which it holds a lease.  So a file is found first, by a descriptor that opens
nothing (O_PATH), and no symbolic link is followed on the way.  It is opened only
if it is a regular file, through that descriptor, so that it is still the same
one, and never in a way that waits (O_NONBLOCK): where a lease stands in the way,
the kernel says EWOULDBLOCK at once, and the file counts as unreachable.

Sources: open(2) (O_PATH), openat2(2), fcntl(2) (leases), proc(5).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

_FOUND = os.O_PATH | os.O_CLOEXEC
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_IN_ROOT = 0x10
# The kernel does not know openat2 (before Linux 5.6), or a filter of the container that we are in denies it.
_WITHOUT_OPENAT2 = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG)


_system_call = ctypes.CDLL(None, use_errno=True).syscall
_system_call.restype = ctypes.c_long


class _How(ctypes.Structure):
    """struct open_how, linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class FoundFile:
    """A file that was found and not opened.  A context manager: leaving it closes the descriptor."""

    def __init__(self, descriptor):
        """
        :param descriptor: opened with O_PATH; closed along with this.
        """
        self.descriptor = descriptor
        try:
            self.status = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def close(self):
        """Let go of it."""
        os.close(self.descriptor)

    def open(self, flags=os.O_RDONLY):
        """A descriptor to read the file by; the caller closes it.

        :raises OSError: it is no regular file (EINVAL), somebody holds a lease on it (EWOULDBLOCK), or the kernel does
            not let us.
        """
        if not stat.S_ISREG(self.status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return os.open(f"/proc/self/fd/{self.descriptor}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def find(link):
    """The FoundFile that the kernel's own link ``link`` leads to: /proc/PID/exe, map_files/..., fd/...; OSError."""
    return FoundFile(os.open(link, _FOUND))


def find_inside(pid, path):
    """The FoundFile at ``path`` in the tree of mounts of process ``pid``.

    :param path: absolute, without ``..``; no symbolic link on it is followed.
    :raises OSError: nothing is there, or a symbolic link (ELOOP), or the kernel does not let us look.
    """
    if not path.startswith("/"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    root = _root_of(pid)
    try:
        return FoundFile(_resolve(root, path))
    finally:
        os.close(root)


def walk_inside(pid, path):
    """Every file on the way to ``path`` in the tree of mounts of process ``pid``, one after the other.

    A generator of pairs of a FoundFile, which is closed when the next one is asked for, and whether it is the last one;
    a symbolic link on the way is one, and the end.

    :raises: as find_inside().
    """
    names = _names(path)
    above = _root_of(pid)
    try:
        for index, name in enumerate(names):
            found = FoundFile(os.open(name, _FOUND | os.O_NOFOLLOW, dir_fd=above))
            os.close(above)
            above = found.descriptor
            yield found, index == len(names) - 1
    finally:
        os.close(above)


def _root_of(pid):
    return os.open(f"/proc/{pid}/root", _FOUND | os.O_DIRECTORY)


def _names(path):
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise OSError(errno.ELOOP, "its path leads upwards")
    return names


def _resolve(root, path):
    """A descriptor (O_PATH) of what ``path`` is beneath the directory open at ``root``."""
    how = _How(_FOUND, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS | _RESOLVE_IN_ROOT)
    descriptor = _openat2(root, os.fsencode(path), how)
    if descriptor >= 0:
        return descriptor
    number = ctypes.get_errno()
    if number not in _WITHOUT_OPENAT2:
        raise OSError(number, os.strerror(number))
    return _resolve_by_name(root, path)


def _openat2(root, path, how):
    return _system_call(
        ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root), ctypes.c_char_p(path), ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )


def _resolve_by_name(root, path):
    """The same, one name after the other."""
    above = os.dup(root)
    for name in _names(path):
        try:
            below = os.open(name, _FOUND | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
        above = below
    # O_PATH and O_NOFOLLOW together give a descriptor of a link itself.
    if stat.S_ISLNK(os.fstat(above).st_mode):
        os.close(above)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return above
