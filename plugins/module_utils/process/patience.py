# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait for a process to get on with something that takes it microseconds.

On a busy host its threads may get no processor for seconds.  That is no reason
to say that it does not come to rest, or does not get further than its start.
"""

from __future__ import annotations

import time

from .own_waiting import processor

# So many times as long a process is waited for that could execute, and has not been let.
_BUSY_HOST = 4
# All threads of a process are asked, which takes a while if there are thousands; seconds.
_BETWEEN_LOOKS = 0.25


class Patience:
    """The wait for one process."""

    def __init__(self, pid, seconds):
        """
        :param pid: of the process.
        :param seconds: how long to wait; more only while it waits for a processor itself.
        """
        self._pid = pid
        self._seconds = seconds
        self._started = time.monotonic()
        self._executed = None  # seconds that its threads have executed, when it was first asked for
        self._next_look = 0.0

    def is_over(self):
        """Whether it has had its time; to be asked whenever it is not done yet."""
        if self._executed is None:
            self._executed = processor(self._pid).executed
        now = time.monotonic() - self._started
        if now <= max(self._seconds, self._next_look):
            return False
        if now > _BUSY_HOST * self._seconds:
            return True
        self._next_look = now + _BETWEEN_LOOKS
        found = processor(self._pid)
        return not found.runnable or found.executed - self._executed > self._seconds
