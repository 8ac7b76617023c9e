# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a step of a worker is charged to the process that it looks at: what it executes, and how long it sits in a call.

What the worker waits for a processor is the host's doing, and so is it when the
watcher itself comes late.  A thread that is to be held has to get a processor,
too, before it stops; how often that is tried has limits of its own.  So none of
this counts: an honest process on a busy host is not one that takes too long.
The worker measures exactly, but only when a
step is over; until then its watcher estimates.
"""

from __future__ import annotations

import time

from ..process.own_waiting import OwnWaiting, processor
from ..tracee.custody import seconds_until_stopped

# The most seconds that one look of the watcher adds; a step that has just begun is not looked at.
_INTERVAL = 0.2


class Meter:
    """The charge of one step after the other, measured by the worker itself."""

    def __init__(self):
        self._waiting = OwnWaiting()
        self._began = self._waited = self._stopping = 0.0

    def begin(self):
        """A step begins."""
        self._began, self._waited = time.monotonic(), self._waiting.seconds()
        self._stopping = seconds_until_stopped()

    def seconds(self):
        """Seconds charged to it so far."""
        waited = self._waiting.seconds() - self._waited
        return max(time.monotonic() - self._began - waited - (seconds_until_stopped() - self._stopping), 0.0)


class Estimate:
    """The charge of the step that a worker is at, as its watcher sees it from outside."""

    def __init__(self, pid):
        """
        :param pid: of the worker.
        """
        self._pid = pid
        self._step = None  # (number of the task, when the step began)
        self._charged = 0.0
        self._looked = 0.0
        self._seen = None  # the own_waiting.Processor at the last look

    def seconds(self, number, began):
        """Seconds charged so far to the step of task ``number`` that began at time.monotonic() ``began``."""
        now = time.monotonic()
        if self._step != (number, began):
            self._step = number, began
            self._charged, self._looked, self._seen = 0.0, began, None
        if now - began <= _INTERVAL and self._seen is None:
            return now - began
        seen = processor(self._pid)
        self._charged += self._since_last_look(now - self._looked, seen)
        self._looked, self._seen = now, seen
        return self._charged

    def _since_last_look(self, elapsed, seen):
        """What to charge for the ``elapsed`` seconds since the last look."""
        most = min(elapsed, _INTERVAL)
        if self._seen is None:
            # Nobody looked when the step began.
            return most if not seen.runnable else 0.0
        # Where the kernel keeps no statistics, all that it shows is zero.
        if seen.runnable and seen.executed:
            return min(max(seen.executed - self._seen.executed, 0.0), elapsed)
        return max(min(most, elapsed - (seen.waited - self._seen.waited)), 0.0)
