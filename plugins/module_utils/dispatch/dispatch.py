# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch, many processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import time

from ..errors import FileProblem, UlpError, Untrusted
from ..process.errors import ProcessDead, ProcessError, ProcessForbidden, ProcessGone
from ..process.mapped import MappedFiles
from ..process.procfs import hides_processes
from ..process.subject import alive
from ..trigger import outcome
from ..trigger.drive import drive, drive_all
from ..trigger.outcome import Row
from ..trigger.trigger import Trigger
from . import ledger
from .interruption import Interruption
from .policy import Guard, Policy
from .result import CHECK, PATCH, REVERT, Dispatched
from .select import choose, name_of

# Between two looks at threads that are still inside, in seconds.
_PAUSE = 0.01
# So many PIDs are named in a warning.
_LISTED = 5


def dispatch(path, operation, selection, options, policy=None) -> Dispatched:
    """Apply, revert or check the livepatch at ``path`` in every process that it is for.

    :param path: of the container.
    :param operation: PATCH, REVERT or CHECK.
    :param selection: select.Selection.
    :param options: trigger.options.Options.
    :param policy: policy.Policy; without any, every container is accepted that nobody else could change.
    :return: Dispatched, with a row for every process that loads a target library, and for every one that was
        asked for by PID or name; when a signal asks us to end (interruption.SIGNALS), only for those that were begun.
    :raises BadContainer, BadElf, FileProblem: the container cannot be used.
    :raises BadSignature, Untrusted: it may not be applied.
    :raises UlpError: a file of the policy is malformed, or this very process was asked for.
    :raises MissingDependency: a Python package is missing.
    """
    if os.getpid() in selection.pids:
        raise UlpError(f"process {os.getpid()} is this command itself, which cannot patch itself")
    policy = policy or Policy()
    guard = Guard(path, policy, applies=operation == PATCH, touches=operation != CHECK)
    touches = operation != CHECK and not options.check
    interruption = Interruption()
    trigger = Trigger(
        guard.container,
        MappedFiles(),
        options._replace(wait_migrated=0.0, sample=0.0, veto=guard.veto, interrupted=lambda: interruption.name),
        guard.contents,
    )
    work = {PATCH: trigger.applying, REVERT: trigger.reverting, CHECK: trigger.checking}[operation]
    hidden = []
    warnings = []
    done = []
    # Whoever only looks leaves nothing unfinished, and may end at once.
    with interruption if touches else contextlib.nullcontext():
        try:
            drive_all(
                _recorded(_deal_with(trigger, work, candidate, guard, hidden), done)
                for candidate in itertools.takewhile(lambda _candidate: not interruption.number, choose(selection))
            )
            done.sort(key=lambda row: row.pid)
            if not options.check:
                deadline = time.monotonic() + max(options.wait_migrated, options.sample)
                _wait_for_migration(trigger, done, deadline, interruption, touches)
        finally:
            # What is done is written down even if something is wrong with the tool's own side.
            if touches:
                warnings.extend(_write_down(policy.ledger, done, guard.container, operation))
    if hidden:
        warnings.append(f"processes that this user may not examine were left out: {_listed(hidden)}")
    if hides_processes() and (selection.everything or selection.names):
        warnings.append("processes of other users were left out: /proc is mounted with hidepid and hides them")
    return Dispatched(
        operation, guard.container.patch_id, done, warnings, guard.stopped, guard.retracted, guard.signer,
        frozenset(selection.pids), interruption.number,
    )


def _recorded(work, rows):
    """The generator ``work``, whose Row, if any, is added to ``rows``."""
    row = yield from work
    if row is not None:
        rows.append(row)


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


def _deal_with(trigger, work, candidate, guard, hidden):
    """The Row of select.Chosen ``candidate``, or None: it is of no concern; a generator for trigger.drive.

    :param guard: policy.Guard.
    :param hidden: gets the PID of a process that could not be examined.
    """
    pid = candidate.pid
    try:
        if not candidate.named and not _is_concerned(trigger, pid):
            return None
        reason = guard.reason(pid)
    except ProcessError as error:
        if candidate.named:
            return _failed(candidate, error)
        # Not one that could be patched, or it has ended: nobody asked for it.
        if isinstance(error, ProcessForbidden):
            hidden.append(pid)
        return None
    except FileProblem as error:
        return _failed(candidate, error)
    if reason is not None:
        return Row(pid, name_of(candidate), outcome.EXCLUDED, reason)
    try:
        guard.confirm()
    except (FileProblem, Untrusted) as error:
        return _failed(candidate, error)
    row = yield from work(pid)
    if row.changed and guard.applies and not trigger.options.check:
        row = yield from _unless_replaced(trigger, guard, row)
    if not candidate.named and (
        (row.outcome == outcome.FAILED and _has_ended(pid))
        # It has become another program since it was chosen.
        or (row.outcome == outcome.NOT_APPLICABLE and not _is_still_concerned(trigger, pid))
    ):
        return None
    return row


def _failed(candidate, error):
    return Row(candidate.pid, name_of(candidate), outcome.FAILED, str(error))


def _unless_replaced(trigger, guard, row):
    """``row`` of a process that has just loaded the livepatch, unless the file was replaced meanwhile; a generator.

    Then nobody knows which bytes the process has loaded from it, and what they replaced is taken back.
    """
    try:
        guard.confirm()
    except (FileProblem, Untrusted) as error:
        if _has_bytes(trigger, row.pid):
            return row
        # A kill switch must not keep it in.
        undo = Trigger(guard.container, trigger.files, trigger.options.resolute)
        back = yield from undo.reverting(row.pid)
        undone = "the livepatch was reverted in it"
        if not back.changed:
            undone = f"reverting it failed: {back.reason}"
        return row._replace(
            outcome=outcome.FAILED,
            threads_pending=0,
            reason=f"process {row.pid} ({row.name}) may have loaded something else than what was checked: {error};"
            f" {undone}",
        )
    return row


def _has_bytes(trigger, pid):
    try:
        return trigger.has_bytes(pid)
    except UlpError:
        # It has ended, or shows nothing any more: then it is not known, and no proof.
        return False


def _is_concerned(trigger, pid):
    _stat, via = alive(pid)
    return trigger.resolved(via).concerned


def _is_still_concerned(trigger, pid):
    try:
        return _is_concerned(trigger, pid)
    except ProcessError:
        return False


def _has_ended(pid):
    try:
        alive(pid)
    except (ProcessGone, ProcessDead):
        return True
    return False


def _wait_for_migration(trigger, rows, deadline, interruption, touches):
    """Bring ``rows`` up to date until no thread is pending, or ``deadline`` (time.monotonic()) or a signal has come.

    :param touches: whether threads that came out meanwhile may be settled: once in each process.
    """
    waiting = [index for index, row in enumerate(rows) if row.threads_pending]
    settled = set()
    while waiting and time.monotonic() < deadline and not interruption.number:
        time.sleep(_PAUSE)
        for index in waiting:
            rows[index] = _updated(rows[index], trigger.check(rows[index].pid))
            if touches and rows[index].unsettled and index not in settled:
                settled.add(index)
                rows[index] = _updated(rows[index], drive(trigger.bringing_along(rows[index].pid)))
        waiting = [index for index in waiting if rows[index].threads_pending]


def _updated(before, now):
    """``before`` with what a later look said."""
    result = now.outcome
    if not now.name:
        now = now._replace(
            name=before.name, reason=f"process {before.pid} ({before.name}) ended while it was {before.outcome}"
        )
    if before.changed and result == outcome.ALREADY_PATCHED:
        result = outcome.PATCHED
    held_us = max(before.held_us or 0, now.held_us or 0) or None
    return now._replace(outcome=result, held_us=held_us, changed=before.changed)
