# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that ask the program to end, as an exception: it ends at once, says so, and leaves no litter.

Where more is at stake than a half-written file, dispatch.interruption has them
wait.
"""

from __future__ import annotations

import contextlib
import signal
import threading

# A closed terminal, Ctrl-C, and what systemd and timeout(1) send.
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """A signal asks the program to end; ``number`` says which."""

    def __init__(self, number):
        self.number = number
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class _Postponed:
    depth = 0
    number = None


_postponed = _Postponed()


@contextlib.contextmanager
def postponed():
    """Inside, a signal of raising() only counts; Terminated is raised when this is left.

    For what must be known to whoever cleans up as soon as it exists, such as a child process: subprocess.Popen() may be
    interrupted when the child is at work already.
    """
    _postponed.depth += 1
    try:
        yield
    finally:
        _postponed.depth -= 1
        if not _postponed.depth and _postponed.number is not None:
            number, _postponed.number = _postponed.number, None
            raise Terminated(number)


@contextlib.contextmanager
def raising():
    """Inside, the first of SIGNALS raises Terminated, and a second one ends the program on the spot.

    One that is ignored stays ignored, as nohup(1) wants it.  Only a program's main thread can have handlers
    (signal(2), Python's module).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict = {}  # {signal: its handler}

    def terminate(number, _frame):
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        if _postponed.depth:
            _postponed.number = number
        else:
            raise Terminated(number)

    for number in SIGNALS:
        # None: a handler that is not Python's could not be put back.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
