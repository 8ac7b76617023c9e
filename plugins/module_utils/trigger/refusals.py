# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remember threads that could not serve, so that none is stopped again for the same answer.

A thread's answer depends on its frames.  Of one that is blocked these can be
read without stopping it, so whoever stands where another one has refused is
left in peace.  One that runs may be anywhere the next time: it is asked again
for as long as the options say, unless it is the stack itself that will not do.
"""

from __future__ import annotations

from collections import Counter

from ..errors import UlpError
from ..process.procfs import read_system_call
from ..process.unwinder import unwind

# How often to ask the same frames: a moment later another reason may be gone that nobody sees from outside.
SAME_FRAMES = 3
# How often in a row to stop threads whose answers had all been given before.
MOST_IN_VAIN = 50
# How often to ask a thread that was only ever seen on a stack of the program's own.
STRANGE_STACK = 5


class Refusals:
    """Those of one process."""

    def __init__(self, via, pid, files):
        """
        :param via: a thread of the process that has not ended.
        :param files: process.mapped.MappedFiles.
        """
        self._via = via
        self._pid = pid
        self._files = files
        self._asked_at = {}  # {TID: procfs.SystemCall, or None: it was running}
        self._places = {}  # {TID: (procfs.SystemCall, its frames, or what stands for them)}
        self._given: Counter = Counter()  # {frames: how often a thread with them refused}
        self._strange: Counter[int] = Counter()  # {TID: how often in a row it was on a stack of the program's own}
        self._answers = set()  # (frames or None, reason)
        self._in_vain = 0

    def are_foreseen(self, tid):
        """Whether thread ``tid`` would refuse, as far as can be told without stopping it; raises ProcessGone."""
        where = read_system_call(self._pid, tid)
        self._asked_at[tid] = where
        if not self._answers:
            return False
        frames = self._frames(tid, where)
        if frames is None:
            return self._strange[tid] >= STRANGE_STACK
        return self._given[frames] >= SAME_FRAMES

    def note(self, tid, reason, strange_stack=False):
        """Thread ``tid`` could not serve, where are_foreseen() has seen it last.

        :param reason: in words that are the same for every thread.
        :param strange_stack: whether that is because its stack was not made by the C library.
        """
        frames = self._frames(tid, self._asked_at.get(tid))
        if frames is not None:
            self._given[frames] += 1
        self._strange[tid] = self._strange[tid] + 1 if strange_stack else 0  # a usual one is worth asking for
        answer = (frames, reason)
        repeated = answer in self._answers and (frames is not None or strange_stack)
        self._in_vain = self._in_vain + 1 if repeated else 0
        self._answers.add(answer)

    @property
    def repeat_themselves(self):
        """Whether nothing new was heard for so long that nothing is to be expected."""
        return self._in_vain >= MOST_IN_VAIN

    def all_for_their_stacks(self, tids):
        """Whether each of the threads was on a stack of the program's own the last time that it was asked."""
        return bool(tids) and all(self._strange[tid] for tid in tids)

    def _frames(self, tid, where):
        """What tells the frames of a thread that is blocked at ``where`` from others; None: it runs."""
        if where is None:
            return None
        known = self._places.get(tid)
        if known is None or known[0] != where:
            try:
                found = unwind(self._via, where, self._files)
            except UlpError:
                found = None
            known = (where, tuple(found) if found is not None else where)
            self._places[tid] = known
        return known[1]
