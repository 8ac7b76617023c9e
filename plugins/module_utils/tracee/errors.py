# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a thread was not diverted."""

from __future__ import annotations

import os

from ..process.errors import ProcessError


class ThreadRefused(ProcessError):
    """This thread, at this moment, must not be diverted; it was let go as it was."""

    def __init__(self, pid: int, tid: int, message: str) -> None:
        self.tid = tid
        super().__init__(pid, message)


class ThreadEnded(ThreadRefused):
    """The thread ended before or while it was held."""

    def __init__(self, pid: int, tid: int) -> None:
        super().__init__(pid, tid, f"thread {tid} of process {pid} has ended")


class MovedOn(ThreadRefused):
    """The thread is not any more where it was looked at, so that nothing is known of it."""


class FiltersChanged(ThreadRefused):
    """The thread has other seccomp filters than those that were examined."""


class StrangeStack(ThreadRefused):
    """The thread is on a stack that the C library did not make for it: nobody can say where that ends."""


class StepFailed(ThreadRefused):
    """The kernel refused one step; ``step`` is the ptrace request's name."""

    def __init__(self, pid: int, tid: int, step: str, error: int) -> None:
        """
        :param step: what was asked, as in ptrace(2).
        :param error: errno, or 0 when it is not known.
        """
        self.step = step
        self.error = error
        reason = f" ({os.strerror(error)})" if error else ""
        super().__init__(pid, tid, f"thread {tid} of process {pid}: the kernel refused {step}{reason}")
