# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking again: a process that is not patched yet may fork, and its child is not patched either.

So there is another pass over the processes that are new, until one finds
nothing that could have such children.  A process that has executed a program
since it was looked at is new, too: its PID stays, what was seen of it does not.
Where addresses are not random nobody can see from outside whether it has, so it
is looked at in each pass.

A process that cannot be patched, or is to be left alone, may go on forking for
ever: then this ends, and says so.
"""

from __future__ import annotations

import time

from ..process.errors import ProcessError
from ..process.procfs import execution, has_random_addresses, read_stat
from ..process.subject import has_ended
from ..trigger import outcome
from .select import choose, short_name_of

# How many passes there are at most.
_PASSES = 20
# What a process that was looked at has come to, if it need not be looked at again on suspicion.
_NO_GOOD = (outcome.FAILED, outcome.PENDING, outcome.NOT_PATCHABLE)
# Of so many processes the sentence speaks.
_LISTED = 3


class Passes:
    """The passes over the processes of one dispatch."""

    def __init__(self, selection, seconds):
        """
        :param selection: select.Selection.
        :param seconds: for how long passes may go on.
        """
        self._selection = selection
        self._seconds = seconds
        self._deadline = None
        self._count = 1
        self._seen = {}  # {PID: its procfs.Execution before it was looked at, or None: it had ended}
        self._failed = set()  # PIDs of processes to which no other pass would do any good
        self._parents = {}  # {PID: its parent's} for those that a later pass has found; they need not live long
        self.incomplete = None  # why there may be more processes to deal with, one sentence; None: there are none

    def is_another_one_due(self, rows):
        """Whether to look again after a pass whose new rows are ``rows``; sets ``incomplete`` when that has to end."""
        if self._selection.pids and not self._selection.names:
            # Nobody asked for their children.
            return False
        found = [row for row in rows if may_have_left_children(row)]
        self._failed.update(row.pid for row in rows if row.outcome in _NO_GOOD)
        # What is left alone may have children that are not, but need not end forking.
        if not found and not (self._count == 1 and any(row.outcome == outcome.EXCLUDED for row in rows)):
            return False
        if self._deadline is None:
            self._deadline = time.monotonic() + self._seconds
        if self._count >= _PASSES or time.monotonic() > self._deadline:
            self.incomplete = _sentence(self._count, [row.pid for row in found], self._parents)
            return False
        self._count += 1
        return True

    def newcomers(self, own=frozenset()):
        """The select.Chosen of this pass: those that are not as they were when a pass before this one looked at them.

        :param own: PIDs of processes of ours.
        """
        found = []
        for candidate in choose(self._selection):
            if candidate.pid in own:
                continue
            now = _execution_of(candidate.pid)
            if candidate.pid not in self._seen or self._may_be_another(candidate.pid, now):
                self._seen[candidate.pid] = now
                if self._count > 1:
                    self._parents[candidate.pid] = _parent_of(candidate.pid)
                found.append(candidate)
        return found

    def _may_be_another(self, pid, now):
        """Whether process ``pid``, of which ``now`` is the Execution, may run another program than when it was seen."""
        if now is None:
            return False
        return now != self._seen[pid] or (pid not in self._failed and not _has_random_addresses(pid))


def _execution_of(pid):
    try:
        return execution(pid)
    except ProcessError:
        return None


def _has_random_addresses(pid):
    try:
        return has_random_addresses(pid)
    except ProcessError:
        # It has ended.
        return True


def may_have_left_children(row):
    """Whether the process of ``row`` was, or is, in another state than asked for: so are children forked meanwhile."""
    return row.changed or row.outcome in (outcome.FAILED, outcome.PENDING)


def _parent_of(pid):
    try:
        return read_stat(pid).parent
    except ProcessError:
        # It has ended.
        return None


def _sentence(passes, pids, parents):
    """Why there may be further processes.

    :param pids: of those that the last pass has found.
    :param parents: {PID: its parent's, or None} of processes that have been found since the first pass.
    """
    forked = {}
    for pid in pids:
        forked.setdefault(parents[pid] if pid in parents else _parent_of(pid), pid)
    named = [
        f"process {parent} ({short_name_of(parent)}) has forked process {forked[parent]}"
        for parent in sorted(parent for parent in forked if parent is not None and not has_ended(parent))
    ]
    what = f"{', '.join(named[:_LISTED])}; see to the parent, then run again" if named else (
        "their parents have ended meanwhile; run again")
    return f"after {passes} passes there are still new processes to deal with, so that others may follow: {what}"
