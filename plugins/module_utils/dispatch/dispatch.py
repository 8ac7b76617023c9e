# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch, or several, and many processes."""

from __future__ import annotations

import contextlib
import os
import time

from ..errors import FileProblem, UlpError, Untrusted
from ..livepatch.labels import shown
from ..livepatch_files import livepatch_files
from ..process.mapped import MappedFiles
from ..process.procfs import hides_processes
from ..process.subject import has_ended
from ..trigger import outcome
from . import ledger
from .again import Passes
from .deal import DEAL, FIND_OUT, LOOK, LOOK_AND_SETTLE, Dealer
from .interruption import Interruption
from .policy import Policy
from .pool import Pool
from .result import CHECK, PATCH, REVERT, Dispatched, DispatchedLivepatch
from .select import by_turns, choose
from .several import Several, guards_of
from .task import Task
from .unanswered import row_of, with_what_was_found_out

# Between two looks at threads that are still inside, in seconds.
_PAUSE = 0.01
# How many PIDs one warning names.
_LISTED = 5
# Outcomes that speak of what is still to come, which is nothing where the process has ended.
_OPEN = (outcome.PENDING, outcome.NOT_PATCHABLE)


def dispatch(paths, operation, selection, options, policy=None) -> Dispatched:
    """Apply, revert or check livepatches, each in every process that it is for.

    Processes are looked at, and sent requests, by workers (pool.Pool), which are killed where one does not answer.

    :param paths: path of a livepatch, of a directory of livepatches, or a list of such: as livepatch_files() takes it.
    :param operation: PATCH, REVERT or CHECK.
    :param selection: select.Selection.
    :param options: trigger.options.Options.
    :param policy: policy.Policy; without any, every livepatch is accepted that nobody else could change.
    :return: Dispatched, with a row for every process that loads a target library, for every one that was asked for by
        PID or name, and for every one of which that could not be told; when a signal asks us to end
        (interruption.SIGNALS), only for those that were begun. Where several livepatches are for a process, it has a
        row for each.
    :raises BadLivepatch, BadElf, FileProblem: a livepatch cannot be used.
    :raises BadSignature, Untrusted: one may not be applied.
    :raises UlpError: a file of the policy is malformed, this very process was asked for, or the livepatches cannot be
        dealt with together.
    :raises MissingDependency: a Python package is missing.
    """
    _require_others(selection)
    policy = policy or Policy()
    return _dispatch(guards_of(livepatch_files(paths), policy, operation), operation, selection, options, policy)


def revert_all_of(soname, selection, options, policy=None) -> Dispatched:
    """Revert every livepatch of the library ``soname``, in each process in one publish.

    Arguments, result and exceptions as dispatch(); there is no livepatch, and the result's patch ID is empty.
    """
    _require_others(selection)
    policy = policy or Policy()
    from .all_of import AllOf

    return _dispatch([AllOf(soname, policy)], REVERT, selection, options, policy)


def _require_others(selection):
    if os.getpid() in selection.pids:
        raise UlpError(f"process {os.getpid()} is this command itself, which cannot patch itself")


def _dispatch(guards, operation, selection, options, policy):
    """As dispatch(), by ``guards``: a list of policy.Guard, in order, or of one all_of.AllOf."""
    touches = operation != CHECK and not options.check
    interruption = Interruption()
    livepatches = [guard.livepatch for guard in guards]

    def prepare(worker):
        files = MappedFiles()
        limits = options._replace(
            wait_migrated=0.0, sample=0.0, interrupted=worker.interrupted, announce=worker.announce)
        dealers = []
        for guard in guards:
            companions = [livepatch for livepatch in livepatches if livepatch is not guard.livepatch]
            dealers.append(Dealer(guard, operation, selection, limits, files, companions))
        if len(dealers) == 1:
            return dealers[0].perform
        return Several(dealers, operation, selection, files, options.check).perform

    work = _Work(operation, options, livepatches, frozenset(selection.pids))
    warnings = []
    # Whoever only looks leaves nothing unfinished, and may end at once.
    with interruption if touches else contextlib.nullcontext(), Pool(
        prepare, options.examine_timeout, interruption if touches else None
    ) as pool:
        try:
            passes = Passes(selection, options.timeout) if touches else None
            work.deal(pool, choose(selection) if passes is None else passes.newcomers())
            while passes is not None and not interruption.number and passes.is_another_one_due(work.latest):
                work.deal(pool, passes.newcomers(pool.pids))
            if not options.check:
                work.wait(pool, interruption, touches)
        finally:
            # What is done is written down even if something is wrong with the tool's own side.
            if touches:
                warnings.extend(_write_down(policy.ledger, work.rows, livepatches, operation))
    if work.hidden:
        warnings.append(f"processes that this user may not examine were left out: {_listed(work.hidden)}")
    if hides_processes() and (selection.everything or selection.names):
        warnings.append("processes of other users were left out: /proc is mounted with hidepid and hides them")
    dealt_with = tuple(
        DispatchedLivepatch(
            os.fspath(guard.livepatch.path), guard.livepatch.patch_id, shown(guard.livepatch.labels), guard.signer,
            guard.retracted,
        )
        for guard in guards
    )
    signers = {guard.signer for guard in guards}
    return Dispatched(
        operation, work.patch_id, work.rows, warnings, any(guard.stopped for guard in guards) or work.stopped,
        any(guard.retracted for guard in guards), signers.pop() if len(signers) == 1 else None,
        frozenset(selection.pids), interruption.number, passes.incomplete if passes is not None else None,
        _all_labels(dealt_with), dealt_with,
    )


class _Work:
    """What has been done so far."""

    def __init__(self, operation, options, livepatches, named):
        self._named = named  # the PIDs that were asked for by number
        self._done = outcome.PATCHED if operation == PATCH else outcome.REVERTED
        self._options = options
        # What a row is about, if that is clear.
        self.patch_id = livepatches[0].patch_id if len(livepatches) == 1 else ""
        self._rows = {}  # {PID: list of Row}
        self._before = {}  # the same, of processes that were changed, and have executed a program since
        self.latest = []  # the rows of the last call of deal(), each as if there had been none before
        self.hidden = []  # PIDs of processes that this user may not examine
        self.stopped = False  # the kill switch was in the way
        self._silent = set()  # PIDs of processes that did not answer a later look

    @property
    def rows(self):
        """All rows, ascending by PID; those of one process in the order of the livepatches."""
        found = dict(self._before)
        for pid, rows in self._rows.items():
            found[pid] = _all_merged(self._before[pid], rows) if pid in self._before else rows
        return [row for _pid, rows in sorted(found.items(), key=lambda its: its[0]) for row in rows]

    def deal(self, pool, candidates):
        """Deal with the processes ``candidates`` (select.Chosen)."""
        unanswered = []
        for answer in pool.run([Task(DEAL, candidate.pid, candidate.named) for candidate in by_turns(candidates)]):
            if answer.problem is None:
                self._add(answer.task.pid, answer.value)
            else:
                # Stands if nothing more can be found out.
                row = row_of(answer, self._options.examine_timeout)
                self._note(answer.task.pid, [row._replace(patch_id=self.patch_id)])
                unanswered.append(answer.task)
        asked = [task._replace(kind=FIND_OUT) for task in unanswered]
        for answer in pool.run(asked, to_the_end=True):
            (row,) = self._rows.pop(answer.task.pid)
            rows = with_what_was_found_out(row, answer)
            if rows:
                self._rows[answer.task.pid] = rows
        dealt_with = {candidate.pid for candidate in candidates}
        self.latest = [row for pid, rows in self._rows.items() if pid in dealt_with for row in rows]

    def _add(self, pid, found):
        self.stopped = self.stopped or found.stopped
        if found.hidden:
            self.hidden.append(pid)
        self._note(pid, list(found.rows))

    def _note(self, pid, rows):
        """``rows``, which may be none, stand for what process ``pid`` is now."""
        changed = [row for row in self._rows.pop(pid, ()) if row.changed]
        if changed:
            self._before[pid] = changed
        if rows:
            self._rows[pid] = rows

    def wait(self, pool, interruption, touches):
        """Bring rows up to date until no thread is pending, the time is over, or a signal has come.

        :param touches: whether threads that came out meanwhile may be settled: once in each process.
        """
        deadline = time.monotonic() + max(self._options.wait_migrated, self._options.sample)
        waiting = sorted(pid for pid in self._rows if self._pending(pid))
        settled = set()
        while waiting and time.monotonic() < deadline and not interruption.number:
            time.sleep(_PAUSE)
            self._update(pool, LOOK, waiting)
            if touches:
                unsettled = [
                    pid for pid in waiting
                    if pid not in settled and any(row.unsettled for row in self._rows.get(pid, ()))]
                settled.update(unsettled)
                self._update(pool, LOOK_AND_SETTLE, unsettled)
            waiting = [pid for pid in waiting if self._pending(pid) and pid not in self._silent]

    def _pending(self, pid):
        return any(row.threads_pending for row in self._rows.get(pid, ()))

    def _update(self, pool, kind, pids):
        """Look at processes again."""
        for answer in pool.run([Task(kind, pid) for pid in pids]):
            pid = answer.task.pid
            if answer.problem is None:
                rows, now = self._rows[pid], {row.patch_id: row for row in answer.value.rows}
                if pid not in self._named and not any(row.changed for row in rows) and has_ended(pid):
                    # Nothing was done to it, and nothing is left that could need it.
                    del self._rows[pid]
                else:
                    self._rows[pid] = [_updated(row, now[row.patch_id]) if row.patch_id in now else row for row in rows]
            else:
                # What was seen before stands.
                self._silent.add(pid)


def _all_labels(livepatches):
    """What all result.DispatchedLivepatch are about: {key: list of texts}."""
    found: dict = {}
    for livepatch in livepatches:
        for key, values in livepatch.labels.items():
            known = found.setdefault(key, [])
            known += [value for value in values if value not in known]
    return found


def _write_down(path, rows, livepatches, operation):
    """Add what was done to the ledger; a list of warnings: that it cannot be written undoes nothing."""
    entries = ledger.entries_of(rows, livepatches, operation)
    if not entries or not ledger.is_kept(path):
        return []
    try:
        ledger.append(path, entries)
    except (FileProblem, Untrusted) as error:
        return [f"the ledger was not written: {error}"]
    return []


def _listed(pids):
    return ", ".join(str(pid) for pid in pids[:_LISTED]) + (", ..." if len(pids) > _LISTED else "")


def _updated(before, now):
    """``before`` with what a later look said."""
    if has_ended(before.pid):
        if before.outcome not in _OPEN:
            return before
        # Its threads are gone, and so is what a restart would have helped.
        return before._replace(
            outcome=outcome.NOT_APPLICABLE,
            threads_pending=0,
            unsettled=False,
            reason=f"process {before.pid} ({before.name}) ended while it was {outcome.MEANINGS[before.outcome].words}",
        )
    # A look changes nothing.
    return _merged(before, now._replace(changed=False, attached_now=False))


def _all_merged(before, now):
    """Two lists of rows of a process, merged for each livepatch."""
    was = {row.patch_id: row for row in before}
    rows = [_merged(was.pop(row.patch_id), row) if row.patch_id in was else row for row in now]
    return [*was.values(), *rows]


def _merged(before, now):
    """``now``, the later of two rows of a process, with what was done to it before."""
    result = now.outcome
    if before.changed and result == outcome.ALREADY_PATCHED:
        result = outcome.PATCHED
    if before.changed and before.outcome == outcome.REVERTED and result == outcome.NOT_APPLICABLE:
        # It has executed a program since, so that nothing was left to revert.
        result = outcome.REVERTED
    held_us = max(before.held_us or 0, now.held_us or 0) or None
    return now._replace(
        outcome=result, held_us=held_us, changed=before.changed or now.changed,
        attached_now=before.attached_now or now.attached_now,
    )
