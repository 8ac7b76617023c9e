# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch, many processes."""

from __future__ import annotations

import contextlib
import os
import time

from ..errors import FileProblem, UlpError, Untrusted
from ..livepatch.labels import shown
from ..process.procfs import hides_processes
from ..process.subject import has_ended
from ..trigger import outcome
from . import ledger
from .again import Passes
from .deal import DEAL, FIND_OUT, LOOK, LOOK_AND_SETTLE, Dealer
from .interruption import Interruption
from .policy import Guard, Policy
from .pool import Pool
from .result import CHECK, PATCH, REVERT, Dispatched
from .select import choose
from .task import Task
from .unanswered import row_of, with_what_was_found_out

# Between two looks at threads that are still inside, in seconds.
_PAUSE = 0.01
# How many PIDs one warning names.
_LISTED = 5


def dispatch(path, operation, selection, options, policy=None) -> Dispatched:
    """Apply, revert or check the livepatch at ``path`` in every process that it is for.

    Processes are looked at, and sent requests, by workers (pool.Pool), which are killed where one does not answer.

    :param path: of the container.
    :param operation: PATCH, REVERT or CHECK.
    :param selection: select.Selection.
    :param options: trigger.options.Options.
    :param policy: policy.Policy; without any, every container is accepted that nobody else could change.
    :return: Dispatched, with a row for every process that loads a target library, for every one that was asked for by
        PID or name, and for every one of which that could not be told; when a signal asks us to end
        (interruption.SIGNALS), only for those that were begun.
    :raises BadContainer, BadElf, FileProblem: the container cannot be used.
    :raises BadSignature, Untrusted: it may not be applied.
    :raises UlpError: a file of the policy is malformed, or this very process was asked for.
    :raises MissingDependency: a Python package is missing.
    """
    _require_others(selection)
    policy = policy or Policy()
    guard = Guard(path, policy, applies=operation == PATCH, touches=operation != CHECK)
    return _dispatch(guard, operation, selection, options, policy)


def revert_all_of(soname, selection, options, policy=None) -> Dispatched:
    """Revert every livepatch of the library ``soname``, in each process in one publish.

    Arguments, result and exceptions as dispatch(); there is no container, and the result's patch ID is empty.
    """
    _require_others(selection)
    policy = policy or Policy()
    from .all_of import AllOf

    return _dispatch(AllOf(soname, policy), REVERT, selection, options, policy)


def _require_others(selection):
    if os.getpid() in selection.pids:
        raise UlpError(f"process {os.getpid()} is this command itself, which cannot patch itself")


def _dispatch(guard, operation, selection, options, policy):
    """As dispatch(), by ``guard``: policy.Guard, or all_of.AllOf."""
    touches = operation != CHECK and not options.check
    interruption = Interruption()

    def prepare(worker):
        return Dealer(guard, operation, selection, options._replace(
            wait_migrated=0.0, sample=0.0, veto=guard.veto, interrupted=worker.interrupted, announce=worker.announce,
            forbids_attaching=guard.forbids_attaching, record_attaching=guard.record_attaching,
        )).perform

    work = _Work(operation, options)
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
                warnings.extend(_write_down(policy.ledger, work.rows, guard.container, operation))
    if work.hidden:
        warnings.append(f"processes that this user may not examine were left out: {_listed(work.hidden)}")
    if hides_processes() and (selection.everything or selection.names):
        warnings.append("processes of other users were left out: /proc is mounted with hidepid and hides them")
    return Dispatched(
        operation, guard.container.patch_id, work.rows, warnings, guard.stopped or work.stopped, guard.retracted,
        guard.signer, frozenset(selection.pids), interruption.number, passes.incomplete if passes is not None else None,
        shown(guard.container.labels),
    )


class _Work:
    """What has been done so far."""

    def __init__(self, operation, options):
        self._done = outcome.PATCHED if operation == PATCH else outcome.REVERTED
        self._options = options
        self._rows = {}  # {PID: Row}
        self._before = {}  # {PID: Row} of processes that were changed, and have executed a program since
        self.latest = []  # the rows of the last call of deal(), each as if there had been none before
        self.hidden = []  # PIDs of processes that this user may not examine
        self.stopped = False  # the kill switch was in the way
        self._silent = set()  # PIDs of processes that did not answer a later look

    @property
    def rows(self):
        """All rows, ascending by PID."""
        found = dict(self._before)
        for pid, row in self._rows.items():
            found[pid] = _merged(self._before[pid], row) if pid in self._before else row
        return [row for _pid, row in sorted(found.items())]

    def deal(self, pool, candidates):
        """Deal with the processes ``candidates`` (select.Chosen)."""
        unanswered = []
        for answer in pool.run([Task(DEAL, candidate.pid, candidate.named) for candidate in candidates]):
            if answer.problem is None:
                self._add(answer.task.pid, answer.value)
            else:
                # Stands if nothing more can be found out.
                self._note(answer.task.pid, row_of(answer, self._options.examine_timeout))
                unanswered.append(answer.task)
        asked = [task._replace(kind=FIND_OUT) for task in unanswered]
        for answer in pool.run(asked, to_the_end=True):
            row = with_what_was_found_out(self._rows.pop(answer.task.pid), answer)
            if row is not None:
                self._rows[answer.task.pid] = row
        dealt_with = {candidate.pid for candidate in candidates}
        self.latest = [row for pid, row in self._rows.items() if pid in dealt_with]

    def _add(self, pid, found):
        self.stopped = self.stopped or found.stopped
        if found.hidden:
            self.hidden.append(pid)
        self._note(pid, found.row)

    def _note(self, pid, row):
        """``row``, or None, stands for what process ``pid`` is now."""
        before = self._rows.pop(pid, None)
        if before is not None and before.changed:
            self._before[pid] = before
        if row is not None:
            self._rows[pid] = row

    def wait(self, pool, interruption, touches):
        """Bring rows up to date until no thread is pending, the time is over, or a signal has come.

        :param touches: whether threads that came out meanwhile may be settled: once in each process.
        """
        deadline = time.monotonic() + max(self._options.wait_migrated, self._options.sample)
        waiting = [row.pid for row in self.rows if row.threads_pending]
        settled = set()
        while waiting and time.monotonic() < deadline and not interruption.number:
            time.sleep(_PAUSE)
            self._update(pool, LOOK, waiting)
            if touches:
                unsettled = [pid for pid in waiting if self._rows[pid].unsettled and pid not in settled]
                settled.update(unsettled)
                self._update(pool, LOOK_AND_SETTLE, unsettled)
            waiting = [pid for pid in waiting if self._rows[pid].threads_pending and pid not in self._silent]

    def _update(self, pool, kind, pids):
        """Look at processes again."""
        for answer in pool.run([Task(kind, pid) for pid in pids]):
            pid = answer.task.pid
            if answer.problem is None:
                self._rows[pid] = _updated(self._rows[pid], answer.value.row)
            else:
                # What was seen before stands.
                self._silent.add(pid)


def _write_down(path, rows, container, operation):
    """Add what was done to the ledger; a list of warnings: that it cannot be written undoes nothing."""
    entries = ledger.entries_of(rows, container, operation)
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
        # Whatever was seen last of it.
        return before._replace(
            outcome=outcome.FAILED,
            threads_pending=0,
            reason=f"process {before.pid} ({before.name}) ended while it was {before.outcome}",
        )
    # A look changes nothing.
    return _merged(before, now._replace(changed=False, attached_now=False))


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
