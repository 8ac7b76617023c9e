# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that ask the program to end, noted instead of obeyed at once.

A request that a process carries out is carried out even if we die meanwhile;
so whoever ends at once leaves a process behind that is patched and in no
ledger.  With the signal noted, what is under way is finished, nothing new is
begun, and what was done is written down and told.

Whoever asks twice does not want to wait for that: the program ends at once, and
says of what was under way that nobody knows what became of it.
"""

from __future__ import annotations

import signal
import threading

from ..termination import SIGNALS


class Interruption:
    """A context manager: inside it, the first of SIGNALS that comes is noted, and so is a second one; nothing else.

    One that is ignored stays ignored, as nohup(1) wants it.  Only a program's main thread can have handlers
    (signal(2), Python's module); on another one, nothing is noted and signals do what they did.
    """

    def __init__(self):
        self.number = 0  # of the signal; 0: none has come
        self.urgent = False  # a second one has come
        self._before = {}

    @property
    def name(self):
        """The name of the signal that has come, or None."""
        return signal.Signals(self.number).name if self.number else None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # None: a handler that is not Python's could not be put back.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind, error, trace):
        self._put_back()

    def _put_back(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _frame):
        if not self.number:
            self.number = number
        elif number != signal.SIGHUP:
            # A terminal that closes may send several of those, and nobody is impatient.
            self.urgent = True
            # A third one is obeyed.
            self._put_back()
