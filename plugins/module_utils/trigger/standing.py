# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a process is with a livepatch that is as it should be, as a Row; by reading alone."""

from __future__ import annotations

from ..process.errors import ProcessGone
from ..process.subject import has_ended
from . import outcome
from .coroutines import about_suspended, count_now
from .outcome import Row
from .pending import about_pending
from .progress import migration
from .undone import undoing


def standing(job, subject, success):
    """The Row of a process in which the livepatch is as it should be, with the threads that are not there yet.

    A generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param success: the outcome when every thread is.
    :raises ProcessGone: the process has ended.
    """
    patch = job.patch_in(subject)
    undone = undoing(subject, patch.domain, job.files)
    if undone is not None and patch.applied:
        return Row(
            subject.pid, subject.name, outcome.FAILED,
            f"process {subject.pid} ({subject.name}) does not have all of the livepatch any more, {undone.reason};"
            f" {undone.remedy}",
        )
    until = 0.0 if job.options.check else job.options.wait_migrated
    found = yield from migration(subject, patch, job.files, until, job.options.sample)
    pending = len(found.pending)
    coroutines = subject.state.domains[patch.domain].coroutines
    suspended = count_now(job, subject, patch.domain)
    if suspended:
        return Row(
            subject.pid, subject.name, outcome.PENDING,
            "; ".join([*([about_pending(subject, found, patch, job.files)] if pending else []),
                       about_suspended(subject, suspended, patch)]),
            threads=found.threads, threads_pending=pending + suspended, coroutines=max(coroutines, suspended),
            unsettled=found.unsettled,
        )
    if not pending:
        if has_ended(subject.pid):
            # Its threads were seen going, and not what they had.
            raise ProcessGone(subject.pid, f"process {subject.pid} ({subject.name}) has ended")
        reasons = [_about_coroutines(subject)] if coroutines else []
        if undone is not None:
            # Without the livepatch, old code is what is wanted; but the next one can't rely on the hook.
            reasons.append(f"in process {subject.pid} ({subject.name}), {undone.reason}")
        return Row(subject.pid, subject.name, success, "; ".join(reasons), threads=found.threads, coroutines=coroutines)
    return Row(
        subject.pid,
        subject.name,
        outcome.PENDING,
        about_pending(subject, found, patch, job.files),
        threads=found.threads,
        threads_pending=pending,
        coroutines=coroutines,
        unsettled=found.unsettled,
    )


def _about_coroutines(subject):
    return (
        f"process {subject.pid} ({subject.name}) enters the library from coroutines; one that is suspended inside it"
        " goes on with old functions, unseen; restart the process if its coroutines are suspended in callbacks from the"
        " library"
    )
