# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One livepatch, many processes."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from ..livepatch.container import read_container
from ..process.errors import ProcessDead, ProcessError, ProcessForbidden, ProcessGone
from ..process.mapped import MappedFiles
from ..process.maps import read_code_maps
from ..process.subject import alive
from ..trigger import outcome
from ..trigger.apply import Trigger
from ..trigger.drive import drive_all
from ..trigger.outcome import Row
from ..trigger.resolve import resolve
from .select import choose

PATCH = "patch"
REVERT = "revert"
CHECK = "check"

# Between two looks at threads that are still inside, in seconds.
_PAUSE = 0.01
# So many PIDs are named in a warning.
_LISTED = 5


_APPLIED = (outcome.PATCHED, outcome.ALREADY_PATCHED)
_UNCONCERNED = (outcome.NOT_APPLICABLE, outcome.ALREADY_FIXED_ON_DISK, outcome.EXCLUDED)


class Dispatched(NamedTuple):
    """What became of all processes."""

    operation: str  # PATCH, REVERT or CHECK
    patch_id: str
    rows: list[Row]
    warnings: list[str]

    @property
    def applied(self):
        """Whether every process that the livepatch is for has it on every thread."""
        return all(row.outcome in _APPLIED or row.outcome in _UNCONCERNED for row in self.rows)

    @property
    def changed(self):
        """Whether any process is now another than before."""
        return any(row.changed for row in self.rows)

    def failures(self, named=()):
        """The rows that a caller must not take for success.

        :param named: PIDs that were asked for by number: of those, one that cannot be patched is a failure too.
        """
        return [
            row for row in self.rows
            if row.outcome == outcome.FAILED
            or (row.outcome == outcome.PENDING and not row.threads_pending)
            or (row.outcome == outcome.NOT_PATCHABLE and row.pid in named)
        ]


def dispatch(path, operation, selection, options) -> Dispatched:
    """Apply, revert or check the livepatch at ``path`` in every process that it is for.

    :param path: of the container.
    :param operation: PATCH, REVERT or CHECK.
    :param selection: select.Selection.
    :param options: trigger.options.Options.
    :return: Dispatched, with a row for every process that loads a target library, and for every one that was
        asked for by PID or name.
    :raises BadContainer, BadElf, FileProblem: the container cannot be used.
    :raises MissingDependency: a Python package is missing.
    """
    trigger = Trigger(read_container(path), MappedFiles(), options._replace(wait_migrated=0.0, sample=0.0))
    work = {PATCH: trigger.applying, REVERT: trigger.reverting, CHECK: trigger.checking}[operation]
    hidden = []
    rows = drive_all(_deal_with(trigger, work, candidate, hidden) for candidate in choose(selection))
    rows = [row for row in rows if row is not None]
    if not options.check:
        rows = _migrated(trigger, rows, time.monotonic() + max(options.wait_migrated, options.sample))
    warnings = []
    if hidden:
        warnings.append(f"processes that this user may not examine were left out: {_listed(hidden)}")
    return Dispatched(operation, trigger.container.patch_id, rows, warnings)


def count_outcomes(rows):
    """{outcome: number of ``rows`` that have it}, only those that occur."""
    return dict(Counter(row.outcome for row in rows))


def state_text(result, after):
    """Text to compare: a line for each process that Dispatched ``result`` changed, as it was or is ``after``."""
    state = "applied" if (result.operation == PATCH) == after else "not applied"
    return "".join(f"{row.pid} {row.name}: {result.patch_id[:16]} {state}\n" for row in result.rows if row.changed)


def _listed(pids):
    return ", ".join(str(pid) for pid in pids[:_LISTED]) + (", ..." if len(pids) > _LISTED else "")


def _deal_with(trigger, work, candidate, hidden):
    """The Row of select.Chosen ``candidate``, or None: it is of no concern; a generator for trigger.drive.

    :param hidden: gets the PID of a process that could not be examined.
    """
    pid = candidate.pid
    if not candidate.named:
        try:
            if not _is_concerned(trigger, pid):
                return None
        except ProcessForbidden:
            hidden.append(pid)
            return None
        except ProcessError:
            # Not one that could be patched, or it has ended: nobody asked for it.
            return None
    if candidate.excluded:
        return Row(pid, candidate.name, outcome.EXCLUDED, "its name is on the exclude list")
    row = yield from work(pid)
    if row.outcome == outcome.FAILED and not candidate.named and _has_ended(pid):
        return None
    return row


def _is_concerned(trigger, pid):
    _stat, via = alive(pid)
    return resolve(trigger.container, trigger.files.libraries(via, read_code_maps(via))).concerned


def _has_ended(pid):
    try:
        alive(pid)
    except (ProcessGone, ProcessDead):
        return True
    return False


def _migrated(trigger, rows, deadline):
    """The rows as they are once no thread is pending, or at ``deadline`` (time.monotonic())."""
    waiting = [index for index, row in enumerate(rows) if row.threads_pending]
    while waiting and time.monotonic() < deadline:
        time.sleep(_PAUSE)
        for index in waiting:
            rows[index] = _updated(rows[index], trigger.check(rows[index].pid))
        waiting = [index for index in waiting if rows[index].threads_pending]
    return rows


def _updated(before, now):
    """``before`` with what a later check said."""
    result = now.outcome
    if before.changed and result == outcome.ALREADY_PATCHED:
        result = outcome.PATCHED
    return now._replace(outcome=result, held_us=before.held_us, changed=before.changed)
