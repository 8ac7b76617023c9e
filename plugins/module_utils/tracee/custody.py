# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold one thread of another process, for microseconds, whatever happens to us.

The work is done on an operating-system thread of its own.  Python delivers
signals only to its main thread, so no KeyboardInterrupt can break in between
two steps; and the kernel lets a held thread go when its tracer ends, be it this
thread (after a thread that would not stop) or, killed, the whole program.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import signal
import time

from ..process.errors import ProcessGone
from ..process.own_waiting import note_end_of_thread
from ..process.procfs import RUNNABLE, read_stat
from . import requests
from .errors import ThreadEnded, ThreadRefused
from .requests import request

# How long a thread may take to stop, in seconds: one in uninterruptible sleep does not.
STOP_SECONDS = 0.25
# So many times as long for one that only waits for a processor, on a busy host.
_BUSY_HOST = 16
# For so long, in seconds, waiting is a busy loop: threads stop in microseconds.
_SPIN_SECONDS = 0.001
_PAUSE_SECONDS = 0.0001
_SHORTEST_PAUSE_SECONDS = 0.00001

_until_stopped = 0.0


def seconds_until_stopped():
    """How long, altogether, this process of ours has waited for threads that have stopped then.

    On a busy machine such a thread waits for a processor.  One that does not stop at all does not count.
    """
    return _until_stopped


def held(work):
    """Call ``work()`` on a thread of its own: urgent, all signals blocked, no garbage collection.

    :return: what it returns; its exception is raised here.  A signal that
        comes meanwhile (KeyboardInterrupt) is raised when ``work`` is done.
    """
    requests.require_binding()
    outcome: list[tuple] = []  # (what it returned, None) or (None, its exception)
    done = _thread.allocate_lock()
    done.acquire()

    def run():
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            # Not everybody may; then other work on a busy machine can come between two steps.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            outcome.append((None, error))
        finally:
            try:
                note_end_of_thread()
            finally:
                done.release()

    interruption: BaseException | None = None
    collecting = gc.isenabled()
    gc.disable()
    try:
        _thread.start_new_thread(run, ())
        while not outcome:
            try:
                done.acquire()
            except BaseException as error:  # noqa: BLE001 - raised again when the thread has been let go
                interruption = error
    finally:
        if collecting:
            gc.enable()
    if interruption is not None:
        raise interruption
    result, failure = outcome[0]
    if failure is not None:
        raise failure
    return result


class Custody:
    """One thread, stopped.  A context manager: leaving it lets the thread go.

    Use it only inside held().  ``held_ns`` is, afterwards, the time in
    nanoseconds from when the thread was last seen running until it was let go:
    an upper bound of how long it stood still.
    """

    def __init__(self, pid, tid):
        self.pid = pid
        self.tid = tid
        self.held_ns = 0
        self._started = 0
        self._stopped = False
        self._seen_stopped = False
        self._urgent = False

    def __enter__(self):
        self._urgent = os.sched_getscheduler(0) == os.SCHED_FIFO
        request(requests.SEIZE, self.pid, self.tid)
        self._started = time.monotonic_ns()
        request(requests.INTERRUPT, self.pid, self.tid)
        self._wait_for_stop()
        return self

    def __exit__(self, kind, error, trace):
        if self._stopped:
            self.release()

    def release(self):
        """Let the thread go, with the registers it has now."""
        self._stopped = False
        # Killed while it was held: nothing is left to be let go.
        with contextlib.suppress(ThreadEnded):
            request(requests.DETACH, self.pid, self.tid)
        self.held_ns = time.monotonic_ns() - self._started

    def _wait_for_stop(self):
        global _until_stopped  # noqa: PLW0603 - there is one thread at a time that waits
        began = time.monotonic()
        self._wait_until_stopped()
        _until_stopped += time.monotonic() - began

    def _wait_until_stopped(self):
        while True:
            status = self._wait_while_runnable()
            number = status >> 8 & 0xFF
            if status >> 16 == requests.EVENT_STOP:
                self._stopped = True
                if number != signal.SIGTRAP:
                    name = signal.Signals(number).name
                    raise self._refusal(f"process {self.pid} is stopped ({name}); continue it first")
                return
            # A signal came first and swallowed the interruption: ask again, then let the signal take its course.
            request(requests.INTERRUPT, self.pid, self.tid)
            request(requests.CONT, self.pid, self.tid, 0, number)

    def _wait_while_runnable(self):
        """As wait(); what it is refused for is what it did when its time was over."""
        for _time in range(_BUSY_HOST):
            status = self.wait(STOP_SECONDS)
            if status is not None:
                return status
            if not self._is_runnable():
                # Only a stopped thread can be detached: the end of this tracer thread does it.
                raise self._refusal(f"thread {self.tid} of process {self.pid} does not stop: it sleeps in the kernel")
        raise self._refusal(f"thread {self.tid} of process {self.pid} does not stop: it gets no processor")

    def _is_runnable(self):
        try:
            return read_stat(self.pid, self.tid).state == RUNNABLE
        except ProcessGone as error:
            raise ThreadEnded(self.pid, self.tid) from error

    def wait(self, seconds):
        """Wait for the thread to stop.

        :return: the wait status, or None when ``seconds`` are over.
        :raises ThreadEnded: it ended instead.
        """
        started = time.monotonic()
        while True:
            asked = time.monotonic_ns()
            try:
                found, status = os.waitpid(self.tid, os.WNOHANG | requests.WALL)
            except ChildProcessError as error:
                raise ThreadEnded(self.pid, self.tid) from error
            if found:
                if not os.WIFSTOPPED(status):
                    raise ThreadEnded(self.pid, self.tid)
                self._seen_stopped = True
                return status
            if not self._seen_stopped:
                self._started = asked
            elapsed = time.monotonic() - started
            if elapsed > seconds:
                return None
            # The thread may have been woken on this very processor, so let others run.
            if elapsed > _SPIN_SECONDS:
                time.sleep(_PAUSE_SECONDS)
            elif self._urgent:
                time.sleep(_SHORTEST_PAUSE_SECONDS)
            else:
                os.sched_yield()

    def _refusal(self, sentence):
        return ThreadRefused(self.pid, self.tid, sentence)
