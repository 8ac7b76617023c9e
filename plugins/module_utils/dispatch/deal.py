# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker does with one process in a dispatch, for one livepatch."""

from __future__ import annotations

from ..errors import FileProblem, MissingDependency, UlpError, Untrusted
from ..faults import unexpected
from ..named_tuple import NamedTuple
from ..process.errors import ProcessDead, ProcessError, ProcessForbidden, ProcessGone, TakesTooLong
from ..process.procfs import execution
from ..process.subject import alive, has_ended
from ..trigger import outcome
from ..trigger.operations.aftermath import credited
from ..trigger.outcome import Row
from ..trigger.trigger import Trigger
from .result import CHECK, PATCH, REVERT
from .select import Chosen, is_meant, name_of

# Kinds of tasks: apply, revert or check, whatever the dispatch is for; look at a process that has been dealt with; the
# same, settling threads; say what became of one that was not dealt with to the end.
DEAL, LOOK, LOOK_AND_SETTLE, FIND_OUT = range(4)
_WORK = {PATCH: "applying", REVERT: "reverting", CHECK: "checking"}  # the generator of what deals with one process


class Found(NamedTuple):
    """What became of one process."""

    rows: tuple[Row, ...] = ()  # one for each livepatch; none: it is of no concern
    hidden: bool = False  # it could not be looked at
    stopped: bool = False  # the kill switch was in the way
    ended: bool = False  # nothing can be said of it any more
    unfinished: bool = False  # there are livepatches of which nothing can be said


class Dealer:
    """One livepatch, one operation, and what a worker has read of shared libraries."""

    def __init__(self, guard, operation, selection, options, files, companions=()):
        """
        :param guard: policy.Guard.
        :param operation: result.PATCH, REVERT or CHECK.
        :param selection: select.Selection.
        :param options: trigger.options.Options; what the guard has to say is added.
        :param files: process.mapped.MappedFiles.
        :param companions: the other livepatches of the same run, livepatch.livepatch.Livepatch.
        """
        options = options._replace(
            veto=guard.veto, reconsider=self._reconsider, forbids_attaching=guard.forbids_attaching,
            record_attaching=guard.record_attaching)
        self._guard = guard
        self._operation = operation
        self._selection = selection
        # {PID: procfs.Execution of the programs for which it was decided whether to deal with the process}
        self._judged = {}
        self._trigger = guard.trigger(files, options, companions)

    @property
    def livepatch(self):
        """The livepatch, a livepatch.livepatch.Livepatch."""
        return self._guard.livepatch

    def perform(self, task, presumed=frozenset()):
        """The generator that carries out task.Task ``task``, and returns a Found.

        :param presumed: as for Trigger.applying() and reverting().
        """
        if task.kind == DEAL:
            return self._deal(task, presumed)
        work = {LOOK: self._look, LOOK_AND_SETTLE: self._look_and_settle, FIND_OUT: self._find_out}
        return work[task.kind](task)

    def _deal(self, candidate, presumed):
        """The Found of a process, of which nothing is known yet."""
        hidden = False
        by_number = candidate.named
        try:
            if not is_meant(candidate, self._selection):
                return Found()
            if not candidate.named and not self._selection.everything:
                # Who is called as the caller said was asked for, too, but not what has ended and waits for its parent.
                if has_ended(candidate.pid):
                    return Found()
                candidate = candidate._replace(named=True)
            row = yield from self._row(candidate, presumed)
        except MissingDependency:
            raise
        except ProcessError as error:
            # Not one that could be patched, or it has ended: nobody asked for it.
            concerns = candidate.named or isinstance(error, TakesTooLong)
            row = self._failed(candidate, error) if concerns else None
            hidden = row is None and isinstance(error, ProcessForbidden)
        except UlpError as error:
            row = self._failed(candidate, error)
        except Exception as error:  # noqa: BLE001 - nothing that a process shows may end the run
            about = f"process {candidate.pid} ({name_of(candidate.pid)})"
            row = self._failed(candidate, unexpected(error, about))
        judged = self._judged.pop(candidate.pid, None)
        unchanged = row is not None and not row.changed
        if unchanged and not by_number and (_is_over(row) or self._is_another(row.pid, judged)):
            row = None
        if row is not None and candidate.touched:
            row = credited(row, self._success)
        return Found(self._rows(row), hidden, self._guard.stopped)

    def _reconsider(self, pid):
        """Why process ``pid`` is to be left alone after all, as a sentence, or None."""
        now = execution(pid)
        judged = self._judged.setdefault(pid, [])
        if judged and now == judged[-1]:
            return None
        judged.append(now)
        if pid not in self._selection.pids and not self._is_called_so(pid):
            return f"process {pid} ({name_of(pid)}) has become another program, which nobody has asked for"
        return self._guard.reason(pid)

    def _is_another(self, pid, judged):
        """Whether process ``pid`` has become a program that nobody has asked for since it was ``judged``."""
        try:
            return bool(judged) and execution(pid) != judged[0] and not self._is_called_so(pid)
        except ProcessError:
            # It has ended.
            return True

    def _is_called_so(self, pid):
        """Whether process ``pid`` has a name that was asked for, or no name was."""
        return is_meant(Chosen(pid, named=False), self._selection)

    def _rows(self, row):
        """``row``, or None, as a Found has it."""
        return () if row is None else (row._replace(patch_id=self.livepatch.patch_id),)

    @property
    def _success(self):
        return outcome.PATCHED if self._operation == PATCH else outcome.REVERTED

    def _row(self, candidate, presumed):
        """The Row of a process, or None: it is of no concern."""
        pid, trigger, guard = candidate.pid, self._trigger, self._guard
        if not candidate.named and not self._is_concerned(pid):
            return None
        self._judged[pid] = [execution(pid)]
        reason = guard.reason(pid)
        if reason is not None:
            return Row(pid, name_of(pid), outcome.EXCLUDED, reason)
        guard.confirm()
        row = yield from getattr(trigger, _WORK[self._operation])(pid, presumed)
        if row.changed and guard.applies and not trigger.options.check:
            row = yield from self._unless_replaced(row)
        nothing = row.outcome == outcome.NOT_APPLICABLE and not row.changed
        if not candidate.named and nothing and not self._is_still_concerned(pid):
            # It has become another program since it was chosen.
            return None
        return row

    @staticmethod
    def _failed(candidate, why):
        return Row(candidate.pid, name_of(candidate.pid), outcome.FAILED, str(why))

    def _unless_replaced(self, row):
        """``row`` of a process that has just loaded the livepatch, unless the file was replaced meanwhile; a generator.

        Then nobody knows which bytes the process has loaded from it, and what they replaced is taken back.
        """
        trigger = self._trigger
        try:
            self._guard.confirm()
        except (FileProblem, Untrusted) as error:
            if self._has_bytes(row.pid):
                return row
            # A kill switch must not keep it in.
            undo = Trigger(self._guard.livepatch, trigger.files, trigger.options.resolute)
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

    def _has_bytes(self, pid):
        try:
            return self._trigger.has_bytes(pid)
        except UlpError:
            # It has ended, or shows nothing any more: then it is not known, and no proof.
            return False
        except Exception as error:  # noqa: BLE001 - the row says already that it is changed
            unexpected(error, f"process {pid}")
            return False

    def _is_concerned(self, pid):
        _stat, proc_tid = alive(pid)
        return self._trigger.resolved(proc_tid).concerned

    def _is_still_concerned(self, pid):
        try:
            return self._is_concerned(pid)
        except ProcessError:
            return False

    def _look(self, task):
        """The Found of a process that has been dealt with, as it is now."""
        return Found(self._rows((yield from self._trigger.checking(task.pid))))

    def _look_and_settle(self, task):
        """As _look(), but threads that only have to be settled are."""
        return Found(self._rows((yield from self._trigger.looking_and_settling(task.pid))))

    def _find_out(self, task):
        """The Found of a process that was not dealt with to the end; it has no row where there is nothing to say."""
        try:
            alive(task.pid)
            if task.touched:
                return Found(self._rows((yield from self._trigger.finding_out(task.pid, self._success))))
            reason = self._guard.reason(task.pid)
        except (ProcessGone, ProcessDead):
            return Found(ended=True)
        except MissingDependency:
            raise
        except UlpError:
            # It has no runtime, say, as it was being given that: what is known stands.
            return Found()
        if reason is None or task.named:
            return Found()
        return Found(self._rows(Row(task.pid, name_of(task.pid), outcome.EXCLUDED, reason)))


def _is_over(row):
    """Whether nothing came of a process because it has ended meanwhile."""
    return row.outcome in (outcome.FAILED, outcome.NOT_PATCHABLE) and has_ended(row.pid)
