# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that ask the program to end, noted instead of obeyed at once.

A request that a process carries out is carried out even if we die meanwhile;
so whoever ends at once leaves a process behind that is patched and in no
ledger.  With the signal noted, what is under way is finished, nothing new is
begun, and what was done is written down and told.
"""

from __future__ import annotations

import signal
import threading

# A closed terminal, Ctrl-C, and what systemd and timeout(1) send.
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context manager: inside it, the first of SIGNALS that comes is noted, and all of them do nothing else.

    One that is ignored stays ignored, as nohup(1) wants it.  Only a program's main thread can have handlers
    (signal(2), Python's module); on another one, nothing is noted and signals do what they did.
    """

    def __init__(self):
        self.number = 0  # of the signal; 0: none has come
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
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _frame):
        self.number = self.number or number
