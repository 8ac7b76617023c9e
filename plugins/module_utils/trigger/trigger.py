# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with one livepatch in one process.

Each operation is imported when it is asked for: a check need not wait for what
only an apply needs.
"""

from __future__ import annotations

from ..process.subject import examine
from . import outcome
from .drive import drive
from .job import Job
from .judgement.applicability import resolution_in
from .operations.attempt import attempt
from .source import Source


class Trigger:
    """One livepatch for any number of processes: what is read of shared libraries is read once."""

    def __init__(self, livepatch, files, options, contents=None, companions=()):
        """
        :param livepatch: livepatch.livepatch.Livepatch.
        :param files: process.mapped.MappedFiles.
        :param options: Options.
        :param contents: the bytes that ``livepatch`` was read from; None: read them again where they are needed.
        :param companions: the other livepatches of the same run.
        """
        self.livepatch = livepatch
        self.files = files
        self.options = options
        self._job = Job(Source(livepatch, contents), files, options, tuple(companions))

    def apply(self, pid):
        """Apply the livepatch to process ``pid``; Row."""
        return drive(self.applying(pid))

    def revert(self, pid):
        """Revert the livepatch in process ``pid``; Row."""
        return drive(self.reverting(pid))

    def check(self, pid):
        """Say whether the livepatch is applied in process ``pid``, touching nothing; Row.

        The outcome is ``already_patched``, ``pending`` or ``reverted``; for a process
        that the livepatch is for but that does not have it, ``failed``.
        """
        return drive(self.checking(pid))

    def resolved(self, proc_tid):
        """The Resolution for the process that has the thread ``proc_tid``; raises ProcessGone, ProcessForbidden."""
        return resolution_in(proc_tid, self.livepatch, self.files, self._job.companions)

    def has_bytes(self, pid):
        """Whether process ``pid`` was given the bytes of the livepatch, instead of loading them from the file.

        :raises UlpError: that cannot be told.
        """
        return self._job.source.was_given_to(examine(pid, self.files))

    def applying(self, pid, presumed=frozenset()):
        """As apply(), but a generator for trigger.drive.

        :param presumed: in a dry run, the IDs of the livepatches that would have been applied to the process by then.
        """
        from .operations.apply import apply

        return attempt(apply, self._job._replace(presumed=presumed), pid, outcome.PATCHED)

    def reverting(self, pid, presumed=frozenset()):
        """As revert(), but a generator for trigger.drive; ``presumed`` are those that would have been reverted."""
        from .operations.revert import revert

        return attempt(revert, self._job._replace(presumed=presumed), pid, outcome.REVERTED)

    def checking(self, pid, _presumed=frozenset()):
        """As check(), but a generator for trigger.drive."""
        from .operations.check import check

        return attempt(check, self._job, pid)

    def finding_out(self, pid, success):
        """The Row of process ``pid`` if it has come to ``success``, outcome.PATCHED or REVERTED; otherwise None.

        A generator for trigger.drive.

        :raises UlpError: that cannot be told.
        """
        from .operations.aftermath import aftermath

        return aftermath(self._job, pid, success)

    def looking_and_settling(self, pid):
        """As checking(), but threads that only have to be settled are; whatever the process has stays."""
        from .operations.check import check_and_settle

        return attempt(check_and_settle, self._job, pid)
