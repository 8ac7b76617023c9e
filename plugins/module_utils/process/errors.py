# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a process, in one sentence each."""

from __future__ import annotations

from ..errors import UlpError


class ProcessError(UlpError):
    """Something about one process; ``pid`` says which."""

    def __init__(self, pid: int, message: str) -> None:
        self.pid = pid
        super().__init__(message)


class ProcessGone(ProcessError):
    """There is no such process, or it ended, or its PID belongs to another process by now."""


class ProgramReplaced(ProcessError):
    """The process has become another program (execve(2)): what was found out about it does not hold any more."""


class ProcessForbidden(ProcessError):
    """The operating system does not let us look into the process."""


class TakesTooLong(ProcessError):
    """To find out what there is to know of it would take longer than one process may keep the others waiting."""

    def __init__(self, pid: int, why: str) -> None:
        """
        :param why: what there is too much of, a clause.
        """
        super().__init__(pid, f"process {pid} takes too long to examine: {why}")


class ProcessUnpatchable(ProcessError):
    """The process, as it was started, cannot be livepatched."""


class NoRuntime(ProcessUnpatchable):
    """There is no runtime in the process: no livepatch is applied to it."""


class RuntimeAbsent(NoRuntime):
    """The process was started without the runtime, and nothing that is known keeps that from being loaded into it."""


class KernelThread(ProcessUnpatchable):
    """It is no process with code of its own at all."""


class ProcessDead(ProcessUnpatchable):
    """The process has ended, but its parent has not asked for its status: a zombie."""


class ProcessUnavailable(ProcessError):
    """The process could be livepatched, but not now: it is stopped, or a debugger holds it."""


class StateUnreadable(ProcessError):
    """The runtime's state block is not to be had, or makes no sense."""


class FalseClaim(StateUnreadable):
    """The state block says what the memory map contradicts: it is false, or the loader is at work on the runtime."""


class NotMapped(StateUnreadable):
    """The process has no memory where the state block, or what it leads to, was to be."""


class StateUnsettled(StateUnreadable):
    """The state block changes whenever it is read: look again in a moment."""


class ProcessStarting(StateUnreadable):
    """The process is being started: the dynamic loader has not got to the runtime yet."""
