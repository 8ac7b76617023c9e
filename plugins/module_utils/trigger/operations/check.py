# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say whether a livepatch is applied in one process; whatever the process has stays."""

from __future__ import annotations

from .. import outcome
from ..judgement.applicability import examine_concerned, with_additional_builds, with_origin
from ..judgement.replacing import replaced_patches
from ..judgement.sessions import with_sessions
from ..judgement.verdict import verdict_by_reading
from ..outcome import Row
from .as_asked import looking_and_settling


def check(job, pid, proc_tid, name):
    """Touch nothing in process ``pid``; a generator, as trigger.operations.attempt wants it."""
    return _look_at(job, pid, proc_tid, name, verdict_by_reading)


def check_and_settle(job, pid, proc_tid, name):
    """As check(), but threads that only have to be settled are."""
    return _look_at(job, pid, proc_tid, name, looking_and_settling)


def _look_at(job, pid, proc_tid, name, judge):
    """The Row of a process; ``judge`` gives it where the livepatch is loaded."""
    subject, resolution, row = examine_concerned(job, pid, proc_tid, name)
    if row is None:
        if resolution.copies:
            from .copies import check_copies

            row = yield from check_copies(job, subject, resolution, judge)
        else:
            row = yield from check_state(job, subject, resolution, judge)
        row = with_additional_builds(row, resolution)
        row = with_origin(with_sessions(row), subject)
    return row


def check_state(job, subject, resolution, judge):
    """The Row of a process that has loaded no library of the livepatch twice; a generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param resolution: resolve.Resolution.
    :param judge: as verdict.verdict_by_reading().
    """
    pid, name = subject.pid, subject.name
    patch = job.patch_in(subject)
    if patch is not None and patch.applied and not resolution.is_covered(patch):
        late = " and ".join(resolution.late(subject.state)) or "a further library"
        return Row(
            pid, name, outcome.FAILED,
            f"process {pid} ({name}) has loaded {late} since the livepatch was applied, and runs old functions of"
            " it; apply the livepatch again",
        )
    if patch is None:
        return Row(pid, name, outcome.FAILED, f"the livepatch is not applied to process {pid} ({name})")
    replaced = replaced_patches(job, subject, patch.domain) if patch.applied else []
    if replaced:
        names = " and ".join(other.name for other in replaced)
        return Row(
            pid, name, outcome.FAILED,
            f"process {pid} ({name}) has the livepatch beside {names}, in whose place it should be; apply it again",
        )
    return (yield from judge(job, subject, outcome.ALREADY_PATCHED if patch.applied else outcome.REVERTED))
