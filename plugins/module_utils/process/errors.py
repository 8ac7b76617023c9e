# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a process, in one sentence each."""

from __future__ import annotations

from ..errors import UlpError


class ProcessError(UlpError):
    """Something about one process; ``pid`` says which."""

    def __init__(self, pid, message):
        self.pid = pid
        super().__init__(message)


class ProcessGone(ProcessError):
    """There is no such process, or it ended, or its PID belongs to another process by now."""


class ProcessForbidden(ProcessError):
    """The operating system does not let us look into the process."""


class ProcessUnpatchable(ProcessError):
    """The process, as it was started, cannot be livepatched."""


class KernelThread(ProcessUnpatchable):
    """It is no process with code of its own at all."""


class ProcessDead(ProcessUnpatchable):
    """The process has ended, but its parent has not asked for its status: a zombie."""


class ProcessUnavailable(ProcessError):
    """The process could be livepatched, but not now: it is stopped, or a debugger holds it."""


class StateUnreadable(ProcessError):
    """The runtime's state block is not to be had, or makes no sense."""
