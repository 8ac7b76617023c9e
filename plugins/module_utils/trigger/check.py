# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say whether a livepatch is applied in one process; whatever the process has stays."""

from __future__ import annotations

from . import outcome
from .concern import examine_concerned, with_besides, with_origin
from .lasting import bringing_along
from .outcome import Row
from .replacing import replaced_patches
from .sessions import with_sessions
from .standing import standing


def check(job, pid, via, name):
    """Touch nothing in process ``pid``; a generator, as trigger.attempt wants it."""
    return _look_at(job, pid, via, name, standing)


def check_and_bring_along(job, pid, via, name):
    """As check(), but threads that only have to be settled are."""
    return _look_at(job, pid, via, name, bringing_along)


def _look_at(job, pid, via, name, judge):
    """The Row of a process; ``judge`` gives it where the livepatch is loaded."""
    subject, resolution, row = examine_concerned(job, pid, via, name)
    if row is None:
        row = with_sessions(with_besides((yield from _check_state(job, subject, resolution, judge)), resolution))
        row = with_origin(row, subject)
    return row


def _check_state(job, subject, resolution, judge):
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
