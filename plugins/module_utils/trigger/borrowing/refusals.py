# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remember threads that could not serve, so that none is stopped again for the same answer.

A thread's answer depends on its frames.  Of one that is blocked these can be
read without stopping it, so whoever stands where another one has refused is
left in peace.  So is one on a stack whose end cannot be told, which can be
seen from outside, too.  A thread that runs may be anywhere the next time: it is
asked again for as long as the options say, unless it is the stack itself that
will not do.
"""

from __future__ import annotations

from collections import Counter

from ...errors import UlpError
from ...process.procfs import read_system_call
from ...process.unwinder import unwind
from ...tracee.errors import StrangeStack
from ...tracee.stack import has_no_known_end

# How often to ask the same frames: a moment later another reason may be gone that nobody sees from outside.
SAME_FRAMES = 3
# How often in a row to stop threads whose answers had all been given before.
MOST_IN_VAIN = 50
# How often to stop blocked threads without hearing a new reason, however their frames differ.
MOST_FOR_THE_SAME_REASONS = 500
# How often to stop blocked threads at all: a runtime that is none may think of a new reason each time.
MOST_AT_REST = 1000
# How often to ask a thread that was only ever seen on a stack of the program's own.
STRANGE_STACK = 5


class Refusals:
    """Those of one process."""

    def __init__(self, proc_tid, pid, files):
        """
        :param proc_tid: a thread of the process that has not ended.
        :param files: process.mapped.MappedFiles.
        """
        self._proc_tid = proc_tid
        self._pid = pid
        self._files = files
        self._asked_at = {}  # {TID: procfs.SystemCall, or None: it was running}
        self._places = {}  # {TID: (procfs.SystemCall, its frames, or what stands for them)}
        self._given: Counter = Counter()  # {frames: how often a thread with them refused}
        self._strange: Counter[int] = Counter()  # {TID: how often in a row it was on a stack of the program's own}
        self._answers = set()  # (frames or None, kind, detail)
        self._in_vain = 0
        self._reasons = set()
        self._same_reasons = 0
        self._at_rest = 0
        self._on_known_stack = {}  # {TID: (procfs.SystemCall, whether the end of its stack can be told there)}

    def are_known_from_outside(self, tid, mappings):
        """Whether thread ``tid`` would refuse, as far as can be told without stopping it.

        :param mappings: function that gives the mappings of the process (maps.Mapping), ascending.
        :raises ProcessGone: the thread has ended.
        """
        where = read_system_call(self._pid, tid)
        self._asked_at[tid] = where
        if where is not None and not self._is_on_known_stack(tid, where, mappings):
            return True
        if not self._answers:
            return False
        frames = self._frames(tid, where)
        if frames is None:
            return self._strange[tid] >= STRANGE_STACK
        return self._given[frames] >= SAME_FRAMES

    def _is_on_known_stack(self, tid, where, mappings):
        """Whether the end of the stack of thread ``tid``, which is blocked at ``where``, can be told."""
        seen = self._on_known_stack.get(tid)
        if seen is None or seen[0] != where:
            known = not has_no_known_end(self._pid, tid, mappings(), where.stack_pointer)
            seen = self._on_known_stack[tid] = (where, known)
            self._strange[tid] = 0 if known else max(self._strange[tid], 1)
        return seen[1]

    def note(self, tid, kind, detail=None):
        """Thread ``tid`` could not serve, where are_known_from_outside() has seen it last.

        :param kind: what kept it from it: the class of an exception, or the number of an error.
        :param detail: what tells one such answer from another.
        """
        strange_stack = kind is StrangeStack
        frames = self._frames(tid, self._asked_at.get(tid))
        if frames is not None:
            self._given[frames] += 1
        self._strange[tid] = self._strange[tid] + 1 if strange_stack else 0  # a usual one is worth asking for
        answer = (frames, kind, detail)
        at_rest = frames is not None or strange_stack
        self._at_rest += at_rest
        self._in_vain = self._in_vain + 1 if at_rest and answer in self._answers else 0
        self._answers.add(answer)
        if kind not in self._reasons:
            self._reasons.add(kind)
            self._same_reasons = 0
        elif at_rest:
            self._same_reasons += 1

    @property
    def repeat_themselves(self):
        """Whether nothing new was heard for so long that nothing is to be expected."""
        return (
            self._in_vain >= MOST_IN_VAIN or self._same_reasons >= MOST_FOR_THE_SAME_REASONS
            or self._at_rest >= MOST_AT_REST
        )

    def all_for_their_stacks(self, tids):
        """Whether each of the threads was on a stack of the program's own the last time that it was seen or asked."""
        return bool(tids) and all(self._strange[tid] for tid in tids)

    def _frames(self, tid, where):
        """What tells the frames of a thread that is blocked at ``where`` from others; None: it runs."""
        if where is None:
            return None
        known = self._places.get(tid)
        if known is None or known[0] != where:
            try:
                found = unwind(self._proc_tid, where, self._files)
            except UlpError:
                found = None
            known = (where, tuple(found) if found is not None else where)
            self._places[tid] = known
        return known[1]
