# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revert a livepatch in one process."""

from __future__ import annotations

from ... import abi
from ...errors import NotPatchable
from ...process.errors import NoRuntime, ProcessUnpatchable
from ...process.subject import require_available
from .. import outcome
from ..borrowing.room import require_memory
from ..borrowing.seccomp_check import require_no_strict_thread
from ..judgement.applicability import examine_concerned, with_leftovers, with_origin
from ..judgement.neighbours import require_independence
from ..judgement.replacing import replaced_patches, require_nothing_left
from ..outcome import Row
from .as_asked import looking_and_settling
from .exchange import exchange

# Of a process that was given the runtime while it ran.
DORMANT = "the runtime, which was loaded into it while it ran, stays there, dormant, until the process ends"


def revert(job, pid, proc_tid, name):
    """Revert the livepatch in process ``pid``; a generator, as trigger.operations.attempt wants it."""
    try:
        subject, _resolution, row = examine_concerned(job, pid, proc_tid, name, takes_back=True)
    except NoRuntime:
        return Row(
            pid, name, outcome.NOT_APPLICABLE,
            f"process {pid} ({name}) runs without the livepatch runtime, so that there is nothing to revert")
    if row is None:
        instances = subject.state.instances(job.livepatch.patch_id)
        if len(instances) > 1:
            # Few processes need this.
            from .copies import revert_instances

            row = yield from revert_instances(job, subject, instances)
        else:
            row = yield from revert_instance(job, subject)
        row = with_origin(row, subject)
        if row.attached and row.changed:
            # What was done to load it is not undone.
            row = row._replace(reason="; ".join(filter(None, (row.reason, DORMANT))))
        row = yield from with_leftovers(job, subject, row)
    return row


def revert_instance(job, subject):
    """Revert it in one copy of its target; a generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :return: Row.
    """
    pid, proc_tid, name = subject.pid, subject.proc_tid, subject.name
    patch = job.patch_in(subject)
    if patch is None:
        return Row(
            pid, subject.name, outcome.NOT_APPLICABLE, f"the livepatch is not applied to process {pid} ({name})"
        )
    if not patch.applied:
        return (yield from looking_and_settling(job, subject, outcome.REVERTED))
    try:
        if job.options.replace:
            others = replaced_patches(job, subject, patch.domain)
            require_nothing_left(job, subject, {other.patch_id: other.name for other in [patch, *others]})
        else:
            require_independence(subject, job.livepatch, job.presumed)
        require_available(pid, proc_tid)
        require_memory(subject)
        require_no_strict_thread(pid)
        if job.options.check:
            return Row(pid, subject.name, outcome.REVERTED, changed=True)
        return (yield from exchange(job, subject, abi.REVERT, [], outcome.REVERTED))
    except (NotPatchable, ProcessUnpatchable) as error:
        # It is patched, and stays so: whoever wanted it reverted must not take it for one that never was.
        return Row(pid, subject.name, outcome.FAILED, f"{error}; the livepatch stays applied")
