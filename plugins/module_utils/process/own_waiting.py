# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a process of ours has waited for a processor: no fault of the process that it looks at.

On a busy host a look of a millisecond may take a second.  Whoever measures how
long somebody else takes to answer has to leave out what was spent in the
kernel's run queues.  Documentation/scheduler/sched-stats.rst of the kernel
says what /proc/PID/schedstat holds: the nanoseconds that a thread has executed,
those that it has waited while it could have executed, and how often it was
put on a processor.  A kernel without these statistics shows zeros, or has no
such file: then all time counts.
"""

from __future__ import annotations

import os

from ..named_tuple import NamedTuple
from .procfs import RUNNABLE

_NANOSECONDS = 1e-9
_FILE = "schedstat"
_FIELDS = 3
_SIZE = 1024
_RUNNABLE = RUNNABLE.encode("ascii")
_ended_threads_waited = 0.0


class Processor(NamedTuple):
    """What the threads of a process had of the processors, all together."""

    executed: float  # seconds
    waited: float  # seconds in which one could have executed, as far as such a time is over
    runnable: bool  # one executes, or waits for a processor


class OwnWaiting:
    """How long the thread that makes this has waited, with those threads for which note_end_of_thread() was called."""

    def __init__(self):
        try:
            self._descriptor = os.open(f"/proc/thread-self/{_FILE}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def seconds(self):
        """Seconds so far."""
        if self._descriptor < 0:
            return 0.0
        return _ended_threads_waited + _parsed(os.pread(self._descriptor, _SIZE, 0))[1]


def note_end_of_thread():
    """Called by a thread of ours that ends, while the main thread waits for it."""
    global _ended_threads_waited  # noqa: PLW0603 - the threads of one process, one after the other
    _ended_threads_waited += _times("/proc/thread-self")[1]


def processor(pid):
    """The Processor of a process; one that has ended has had nothing."""
    executed = delayed = 0.0
    runnable = False
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            times = _times(f"/proc/{pid}/task/{tid}")
            executed += times[0]
            delayed += times[1]
            runnable = runnable or _state(f"/proc/{pid}/task/{tid}") == _RUNNABLE
    except OSError:
        # It has ended.
        pass
    return Processor(executed, delayed, runnable)


def is_runnable(pid):
    """Whether a process of ours executes, or waits for a processor."""
    return processor(pid).runnable


def _times(thread):
    """(seconds that it has executed, seconds that it has waited) of the thread in this directory of /proc."""
    try:
        return _parsed(_read(f"{thread}/{_FILE}"))
    except OSError:
        return 0.0, 0.0


def _parsed(data):
    fields = data.split()
    return (int(fields[0]) * _NANOSECONDS, int(fields[1]) * _NANOSECONDS) if len(fields) == _FIELDS else (0.0, 0.0)


def _state(thread):
    try:
        data = _read(f"{thread}/stat")
    except OSError:
        return b""
    return data[data.rindex(b")") + 2:][:1]


def _read(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _SIZE)
    finally:
        os.close(descriptor)
