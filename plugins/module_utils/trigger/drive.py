# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many processes' requests side by side, on one thread.

An operation on one process is a generator: it yields the number of seconds
that it wants to wait, for the process to answer, and returns its result.  So
the time that one process needs to load a livepatch is used for the next ones.
It never sleeps itself: all others would wait with it.
Threads would do it too, but they would make each other wait while one of them
holds a thread of a process.
"""

from __future__ import annotations

import heapq
import time

# How many processes may be at work on a request at a time.
WIDTH = 32
# An operation that wants to wait for so long, in seconds, leaves its place to another one until it goes on.
LONG_PAUSE = 0.05
# Whoever has waited for long does not look all the time: the next pause is this part of that.
_SHARE = 1 / 16


def drive(operation):
    """Carry out one operation to its end; what it returns."""
    while True:
        try:
            pause = next(operation)
        except StopIteration as stop:
            return stop.value
        time.sleep(pause)


def grown(pause, waited):
    """How long to wait until the next look for an answer that has not come for ``waited`` seconds, in seconds.

    :param pause: how long it would be if that were not long.
    """
    return max(pause, min(waited * _SHARE, 2 * LONG_PAUSE))


def drive_all(operations, width=WIDTH, resting=0):
    """Carry out many operations, ``width`` at a time, and drop what they return.

    :param resting: how many may be under way besides because they want to wait for long (LONG_PAUSE), so that those
        who never get an answer do not keep everybody else waiting.
    :param operations: iterable of generators; the next one is asked for only when there is room for it.  It gives None
        when there is none yet while others are under way, and waits for the next one when there are none.
    """
    waiting: list[tuple] = []  # heap of (time.monotonic() when it goes on, order, generator, whether that is long)
    at_rest = 0  # how many of these wait for long
    upcoming = iter(operations)
    exhausted = False
    order = 0
    while waiting or not exhausted:
        operation = None
        taken = len(waiting) - min(at_rest, resting)
        if not exhausted and taken < width and not (waiting and waiting[0][0] <= time.monotonic()):
            try:
                operation = next(upcoming)
            except StopIteration:
                exhausted = True
                continue
        if operation is None:
            due, _order, operation, long = heapq.heappop(waiting)
            at_rest -= long
            time.sleep(max(due - time.monotonic(), 0))
        try:
            pause = next(operation)
        except StopIteration:
            continue
        order += 1
        long = pause >= LONG_PAUSE
        at_rest += long
        heapq.heappush(waiting, (time.monotonic() + pause, order, operation, long))
