# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several livepatches in one dispatch: each process gets those that are for what it runs.

As a rule they are the same fix for several builds of a library, and a process gets one of them.  One that runs several
of the libraries gets several, one after the other, and has a row for each.
"""

from __future__ import annotations

from ..errors import MissingDependency
from ..livepatch.together import in_order, require_different, require_unambiguous, shares_target, takes_place
from ..process.errors import ProcessError
from ..process.procfs import execution
from ..process.random_bytes import random_bytes
from ..process.subject import alive
from ..trigger.judgement.applicability import resolutions_in
from .deal import DEAL, FIND_OUT, Found
from .policy import Guard
from .result import CHECK, PATCH, REVERT
from .select import is_meant

# How often a process may execute a program while it is dealt with, before we give up.
_PROGRAMS = 5


def guards_of(files, policy, operation):
    """The policy.Guard of each livepatch, in the order in which they are to be dealt with.

    :param files: paths of livepatches, at least one.
    :param policy: policy.Policy.
    :param operation: result.PATCH, REVERT or CHECK.
    :raises UlpError: they can't be dealt with together: names both files.
    :raises: as policy.Guard.
    """
    guards = [Guard(file, policy, applies=operation == PATCH, touches=operation != CHECK) for file in files]
    livepatches = [guard.livepatch for guard in guards]
    require_different(livepatches)
    if operation == PATCH:
        require_unambiguous(livepatches)
    by_id = {guard.livepatch.patch_id: guard for guard in guards}
    ordered = [by_id[livepatch.patch_id] for livepatch in in_order(livepatches)]
    # What depends on another one goes before that does.
    return ordered[::-1] if operation == REVERT else ordered


class Several:
    """As deal.Dealer, for several livepatches."""

    def __init__(self, dealers, operation, selection, files, dry_run):
        """
        :param dealers: list of deal.Dealer, one for each livepatch, in the order in which they take their turns.
        :param operation: result.PATCH, REVERT or CHECK.
        :param selection: select.Selection.
        :param files: process.mapped.MappedFiles.
        :param dry_run: whether no process is touched.
        """
        self._dealers = dealers
        self._operation = operation
        self._selection = selection
        self._files = files
        self._dry_run = dry_run

    def perform(self, task):
        """The generator that carries out task.Task ``task``, and returns a deal.Found."""
        if task.kind == DEAL:
            return self._deal(task)
        return self._find_out(task) if task.kind == FIND_OUT else self._look(task)

    def _deal(self, task):
        """The Found of a process, of which nothing is known yet."""
        for _program in range(_PROGRAMS):
            try:
                if not is_meant(task, self._selection):
                    return Found()
                before = _program_of(task.pid)
                own, others = self._chosen(task.pid)
            except MissingDependency:
                raise
            except Exception:  # noqa: BLE001 - whichever is asked meets the same, and makes a row of it
                return _of_none((yield from self._dealers[0].perform(task)))
            if not own and not others and (task.named or not self._selection.everything):
                others = self._dealers[:1]
            found = yield from self._deal_with(task, own, others)
            if any(row.changed for row in found.rows) or self._is_as(before, task.pid):
                break
            # It has become another program, which may run another build.
        return found

    def _deal_with(self, task, own, others):
        rows = []
        founds = []
        for dealer in own:
            would_be = frozenset(row.patch_id for row in rows if row.changed) if self._dry_run else frozenset()
            found = yield from dealer.perform(task, would_be)
            founds.append(found)
            # The runtime is loaded once.
            has_runtime = self._dry_run and any(row.attached_now for row in rows)
            rows += [row._replace(attached_now=False) if has_runtime else row for row in found.rows]
        for dealer in others:
            found = _of_none((yield from dealer.perform(task)))
            founds.append(found)
            rows += found.rows
        return Found(
            tuple(rows), hidden=any(found.hidden for found in founds), stopped=any(found.stopped for found in founds))

    def _chosen(self, pid):
        """Which dealers are to deal with process ``pid``: two lists.

        The first are for what it runs; of the second, each stands for all that are for other builds of the same
        library.

        :raises ProcessError: that can't be told.
        """
        _stat, proc_tid = alive(pid)
        resolutions = resolutions_in(proc_tid, [dealer.livepatch for dealer in self._dealers], self._files)
        found = list(zip(self._dealers, resolutions))
        own = [dealer for dealer, resolution in found if resolution.matches or resolution.loaded_repeatedly]
        names = {target.soname for dealer in own for target in dealer.livepatch.targets}
        others = []
        for dealer, resolution in found:
            its = {target.soname for target in dealer.livepatch.targets}
            if resolution.concerned and dealer not in own and not its <= names:
                others.append(dealer)
                names |= its
        if self._operation != REVERT:
            own = [dealer for dealer in own if not self._gives_way(dealer, own)]
        return own, others

    @staticmethod
    def _gives_way(dealer, own):
        """Whether another livepatch for the process takes the place of this one."""
        return any(
            takes_place(other.livepatch, dealer.livepatch) and shares_target(other.livepatch, dealer.livepatch)
            for other in own if other is not dealer
        )

    @staticmethod
    def _is_as(before, pid):
        """Whether process ``pid`` still executes the program of ``before`` (_program_of()), or has ended."""
        try:
            return _program_of(pid) == before
        except ProcessError:
            return True

    def _asked(self, pid):
        """The dealers that may know something of a process that has been dealt with."""
        try:
            own, _others = self._chosen(pid)
        except MissingDependency:
            raise
        except Exception:  # noqa: BLE001 - each of them makes a row of it
            return self._dealers
        return own

    def _look(self, task):
        """The Found of a process that has been dealt with, as it is now."""
        rows = []
        for dealer in self._asked(task.pid):
            rows += (yield from dealer.perform(task)).rows
        return Found(tuple(rows))

    def _find_out(self, task):
        """The Found of a process that was not dealt with to the end."""
        # One that was not touched may never say what it runs; nothing of that is read again.
        asked = self._asked(task.pid) if task.touched else self._dealers
        founds = []
        for dealer in asked:
            founds.append((yield from dealer.perform(task)))
        if any(found.ended for found in founds):
            return Found(ended=True)
        rows = tuple(row for found in founds for row in found.rows)
        unfinished = len(rows) < len(founds)
        if task.touched:
            return Found(rows, unfinished=unfinished)
        # It is left alone if none of the livepatches may be dealt with.
        return Found() if unfinished else _of_none(Found(rows[:1]))


def _program_of(pid):
    """What tells the program that process ``pid`` executes from those before and after it; raises ProcessError."""
    return execution(pid), random_bytes(pid)


def _of_none(found):
    """A Found, whose rows are about none of the livepatches in particular."""
    return found._replace(rows=tuple(row._replace(patch_id="") for row in found.rows))
