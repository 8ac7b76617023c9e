# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revert whatever is applied to a library, in each process in one publish, without the livepatches' files.

What a process has loaded tells which livepatches those are.
"""

from __future__ import annotations

from ...elf.contents import FileContents
from ...livepatch.livepatch import parse_livepatch
from ...named_tuple import NamedTuple
from ...process.errors import ProcessUnpatchable
from ...process.mapped import open_mapped
from ...process.maps import mapping_at, read_code_maps
from ...process.subject import examining
from .. import outcome
from ..job import Job
from ..outcome import Row
from ..resolution.resolve import is_called
from ..source import Source
from .aftermath import aftermath
from .attempt import attempt
from .check import check, check_and_settle
from .revert import revert


class Applicability(NamedTuple):
    """Whether a process has loaded the library."""

    concerned: bool


class RevertAll:
    """The livepatches of one library, in any number of processes; to be used as a Trigger that reverts."""

    def __init__(self, soname, files, options, hold):
        """
        :param soname: the library's name: its soname, or its file's where it has none.
        :param files: process.mapped.MappedFiles.
        :param options: Options.
        :param hold: function of a PID and a Livepatch: why the process is left alone, one sentence; None: it is not.
        """
        self.soname = soname
        self.files = files
        self.options = options._replace(replace=True)
        self._hold = hold

    def resolved(self, proc_tid):
        """The Applicability of the process that has the thread ``proc_tid``; raises ProcessGone, ProcessForbidden."""
        found, _obscure = self.files.loaded(proc_tid, read_code_maps(proc_tid))
        return Applicability(any(is_called(library, self.soname) for library in found))

    def reverting(self, pid, _presumed=frozenset()):
        """Revert all in process ``pid``; a generator for trigger.drive that returns a Row."""
        try:
            subject, jobs = yield from self._jobs(pid, True)
        except ProcessUnpatchable as error:
            # Where no runtime is, or none that can do anything, nothing is applied.
            return Row(pid, "", outcome.NOT_APPLICABLE, str(error))
        if not jobs:
            return Row(
                pid, subject.name, outcome.NOT_APPLICABLE,
                f"no livepatch is applied to {self.soname} in process {pid} ({subject.name})")
        rows = []
        for job, others in jobs:
            names = [job.patch_in(subject).name, *(patch.name for patch in others)]
            for patch in [job.patch_in(subject), *others]:
                why = self._hold(pid, self._livepatch(subject, patch))
                if why is not None:
                    return Row(pid, subject.name, outcome.EXCLUDED, why)
            row = yield from attempt(revert, job, pid, outcome.REVERTED)
            if row.changed:
                row = row._replace(reason="; ".join(filter(None, (row.reason, f"without {' and '.join(names)}"))))
            rows.append(row)
        # Two builds of one library were patched apart from each other: what went wrong counts.
        return max(rows, key=lambda row: (row.outcome == outcome.FAILED, row.outcome == outcome.PENDING))._replace(
            changed=any(row.changed for row in rows))

    def checking(self, pid, _presumed=frozenset()):
        """How far process ``pid`` is, as a Row; a generator for trigger.drive."""
        return self._looking(check, pid)

    def looking_and_settling(self, pid):
        """As checking(), but threads that only have to be settled are."""
        return self._looking(check_and_settle, pid)

    def finding_out(self, pid, success):
        """The Row of process ``pid`` if nothing is applied any more; or None.  A generator for trigger.drive.

        :raises UlpError: that cannot be told.
        """
        _subject, jobs = yield from self._jobs(pid, False)
        for job, _others in jobs:
            row = yield from aftermath(job, pid, success)
            if row is not None:
                return row
        return None

    def _looking(self, work, pid):
        subject, jobs = yield from self._jobs(pid, False)
        if not jobs:
            return Row(pid, subject.name, outcome.NOT_APPLICABLE)
        return (yield from attempt(work, jobs[0][0], pid))

    def _jobs(self, pid, applied):
        """(Subject, list of (Job of the newest livepatch, the other LoadedPatch that are applied)), for each domain.

        :param applied: whether only what is applied counts.
        """
        subject = yield from examining(pid, self.files)
        bases = {
            library.base for library in self.files.libraries(subject.proc_tid, subject.mappings)
            if is_called(library, self.soname)}
        jobs = []
        for domain in sorted({hooked.domain for hooked in subject.state.libraries if hooked.base in bases}):
            patches = sorted(
                (patch for patch in subject.state.patches if patch.domain == domain and (patch.applied or not applied)),
                key=lambda patch: patch.universe)
            if patches:
                source = Source(self._livepatch(subject, patches[-1])).as_instance(patches[-1].instance_id)
                jobs.append((Job(source, self.files, self.options), [patch for patch in patches[:-1] if patch.applied]))
        return subject, jobs

    @staticmethod
    def _livepatch(subject, patch):
        """The Livepatch that a process has loaded as ``patch`` (process.runtime.LoadedPatch)."""
        mapping = mapping_at(subject.mappings, patch.text_start)
        return parse_livepatch(FileContents(open_mapped(subject.proc_tid, mapping), mapping.path), mapping.path)
