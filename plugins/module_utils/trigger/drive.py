# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many processes' requests side by side, on one thread.

An operation on one process is a generator: it yields the number of seconds
that it wants to wait, for the process to answer, and returns its result.  So
the time that one process needs to load a livepatch is used for the next ones.
Threads would do it too, but they would make each other wait while one of them
holds a thread of a process.
"""

from __future__ import annotations

import heapq
import time

# So many processes may be at work on a request at a time.
WIDTH = 32


def drive(operation):
    """Carry out one operation to its end; what it returns."""
    while True:
        try:
            pause = next(operation)
        except StopIteration as stop:
            return stop.value
        time.sleep(pause)


def drive_all(operations, width=WIDTH):
    """Carry out many operations, ``width`` at a time.

    :param operations: iterable of generators; the next one is asked for only when there is room for it.
    :return: list of what they return, in their order.
    """
    results = []
    waiting = []  # heap of (time.monotonic() when it goes on, index, generator)
    upcoming = enumerate(operations)
    exhausted = False
    while waiting or not exhausted:
        if not exhausted and len(waiting) < width and not (waiting and waiting[0][0] <= time.monotonic()):
            entry = next(upcoming, None)
            if entry is None:
                exhausted = True
                continue
            index, operation = entry
            results.append(None)
        else:
            due, index, operation = heapq.heappop(waiting)
            time.sleep(max(due - time.monotonic(), 0))
        try:
            pause = next(operation)
        except StopIteration as stop:
            results[index] = stop.value
        else:
            heapq.heappush(waiting, (time.monotonic() + pause, index, operation))
    return results
