# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of one program: of a process from one execve(2) to the next.

A process that becomes another program keeps its PID and its start time.  What
tells is the file /proc/PID/mem (proc(5)): once opened it stays with the memory
that the process had then, and leads nowhere when that has gone.
"""

from __future__ import annotations

import errno
import os

from .. import abi
from .errors import NotMapped, ProcessForbidden, ProcessGone
from .memory import require_user_space
from .procfs import ENDED_STATES, confirm, explained, read_stat
from .random_bytes import replaced


class AddressSpace:
    """The memory that a process had when it was examined.  A context manager: leaving it closes the file."""

    def __init__(self, subject):
        """
        :param subject: process.subject.Subject.
        :raises ProgramReplaced: the process runs another program by now than when it was examined.
        :raises ProcessGone: it has ended.
        :raises ProcessForbidden: ptrace access is needed and not granted.
        """
        self.subject = subject
        try:
            self._memory = os.open(f"/proc/{subject.proc_tid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise explained(subject.pid, error) from error
        try:
            self._require_runtime()
        except BaseException:
            os.close(self._memory)
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        os.close(self._memory)

    def write(self, address, data):
        """Write ``data`` (bytes) at ``address``.

        :raises ProgramReplaced, ProcessGone: this memory has gone; nothing was written.
        :raises NotMapped: nothing is there.
        """
        require_user_space(self.subject.pid, address, len(data))
        if self._carry_out(os.pwrite, data, address) != len(data):
            self.require_present()
            raise NotMapped(
                self.subject.pid, f"process {self.subject.pid} has no memory at {address:#x} ({len(data)} bytes)"
            )

    def require_present(self):
        """Make sure that this is still the memory of the process.

        :raises ProgramReplaced, ProcessGone: it is not.
        """
        if len(self._header()) == abi.STATE_HEADER_SIZE:
            return
        confirm(self.subject.identity)
        if read_stat(self.subject.pid, self.subject.proc_tid).state in ENDED_STATES:
            raise ProcessGone(self.subject.pid, f"process {self.subject.pid} has ended")
        raise replaced(self.subject)

    def _header(self):
        return self._carry_out(os.pread, abi.STATE_HEADER_SIZE, self.subject.state.address)

    def _carry_out(self, call, what, address):
        """What ``call``, os.pread or os.pwrite, gives; like at the end of a file where nothing is mapped."""
        try:
            return call(self._memory, what, address)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EFAULT, errno.ESRCH):
                return b"" if call is os.pread else 0
            raise ProcessForbidden(
                self.subject.pid, f"process {self.subject.pid} cannot be written to: {error.strerror}"
            ) from error

    def _require_runtime(self):
        """The runtime is where it was seen, and the program is the one in which it was: so this is its memory."""
        state = self.subject.state
        self.require_present()
        header = abi.STATE.unpack(self._header().ljust(abi.STATE.size, b"\0"))
        if (header.magic, header.entry, header.request) != (abi.STATE_MAGIC, state.entry, state.request):
            raise replaced(self.subject)
        address, contents = self.subject.random_bytes
        if self._carry_out(os.pread, len(contents), address) != contents:
            raise replaced(self.subject)
