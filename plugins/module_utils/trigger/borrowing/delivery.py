# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a process the bytes of a livepatch whose file it does not see.

Its runtime makes an empty file in memory, without a name in any file system
(memfd_create(2)), and waits.  We write the bytes through /proc/PID/fd and seal
the file: then they are complete, and nobody can change them any more.  If
either side ends before, the kernel does away with the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from functools import lru_cache

from ...errors import UlpError
from ...process.errors import ProcessGone
from ...process.foreign_file import find
from ...process.procfs import explained

# How the memory map of the process calls such a file, because memory_file.c does.
MAPPED_AS = "/memfd:ulp:"

# As memfd_create(2) makes them: whoever has such a descriptor may open the file anew and write to it.
_OPEN_TO_ALL = 0o666

# fcntl(2); Python 3.8 has no names for them.
_ADD_SEALS = 1033
_GET_SEALS = 1034
_SEAL_SEAL = 1
_ALL_SEALS = _SEAL_SEAL | 2 | 4 | 8  # and against shrinking, growing and writing


class Delivery:
    """The bytes for one process; ``delivered`` tells whether it has them."""

    def __init__(self, pid, proc_tid, contents, what="livepatch"):
        """
        :param proc_tid: a thread of the process that has not ended.
        :param contents: all bytes of the file.
        :param what: what messages call that.
        """
        self.what = what
        self.pid = pid
        self.proc_tid = proc_tid
        self.contents = contents
        self.delivered = False

    def deliver(self, number):
        """Fill and seal the memory file that the process has as descriptor ``number``.

        :raises ProcessGone: the process has ended.
        :raises ProcessForbidden: it belongs to somebody else.
        :raises UlpError: what it has there is no empty memory file, or there is no memory left.
        """
        descriptor = self._open(number)
        try:
            self._fill(descriptor)
            fcntl.fcntl(descriptor, _ADD_SEALS, _ALL_SEALS)
            self.delivered = True
        except OSError as error:
            raise self._failure(error.strerror) from error
        finally:
            if not self.delivered:
                _give_up(descriptor)
            os.close(descriptor)

    def _open(self, number):
        # A process may show us anything under that number: we must not write to a file of value, nor wake a device.
        try:
            with find(f"/proc/{self.proc_tid}/fd/{number}") as found:
                status = found.status
                if status.st_dev != _device_of_memory_files() or status.st_nlink or status.st_size:
                    raise self._failure("it offers something else")
                if status.st_mode & _OPEN_TO_ALL != _OPEN_TO_ALL:
                    # Somebody who made it may have given it to the process to be read.
                    raise self._failure("it offers a memory file that not everybody may write to")
                descriptor = found.open(os.O_RDWR)
        except OSError as error:
            failure = explained(self.pid, error)
            if isinstance(failure, ProcessGone) and os.path.exists(f"/proc/{self.proc_tid}"):
                # It has closed the descriptor again.
                failure = self._failure(error.strerror)
            raise failure from error
        # Only memory files can be sealed.
        if _seals(descriptor) & _SEAL_SEAL:
            os.close(descriptor)
            raise self._failure("it offers something else")
        return descriptor

    def _fill(self, descriptor):
        rest = memoryview(self.contents)
        while rest:
            count = os.write(descriptor, rest)
            if not count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest = rest[count:]

    def _failure(self, why):
        return UlpError(f"process {self.pid} could not be given the bytes of the {self.what}: {why}")


@lru_cache(maxsize=None)
def _device_of_memory_files():
    """The number of the file system in the kernel, mounted nowhere, that has all memory files and nobody's own."""
    descriptor = os.memfd_create("ulp", os.MFD_CLOEXEC)
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def _seals(descriptor):
    try:
        return fcntl.fcntl(descriptor, _GET_SEALS)
    except OSError:
        # Not a memory file at all.
        return _SEAL_SEAL


def _give_up(descriptor):
    """Tell the process not to wait any longer: the file can't be sealed any more, and is not complete."""
    # Where that fails too it finds out by itself, after some seconds.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEAL_SEAL)
