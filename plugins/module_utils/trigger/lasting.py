# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make sure threads seen outside really take the new universe on their next entry."""

from __future__ import annotations

from ..errors import UlpError
from ..process.subject import require_available
from ..tracee.requests import require_binding
from .progress import renewed
from .seccomp_check import require_no_strict_thread
from .settle import settling
from .standing import standing


def bringing_along(job, subject, success):
    """Settle threads that lag behind, if that can be, in a process that has what was asked for.

    The livepatch is neither applied nor taken back by that: the row says *changed* of nothing.  A generator, as
    trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param success: the outcome when no thread is pending.
    :return: Row.
    """
    row = yield from standing(job, subject, success)
    if not row.threads_pending or job.options.check:
        return row
    try:
        require_binding()
        require_available(subject.pid, subject.via)
        require_no_strict_thread(subject.pid)
    except UlpError:
        # No thread can be borrowed: what was found stands.
        return row
    return (yield from settle_threads(job, subject, row, success))


def settle_threads(job, subject, row, success):
    """Settle all threads, and look again where that does not do.

    :param row: the Row that says what was seen of them.
    :return: as bringing_along().
    """
    changed = row.changed
    try:
        subject = yield from renewed(subject)
        settled = yield from settling(subject, job.patch_in(subject), job.container, job.files, job.options)
        held_us = max(row.held_us or 0, settled.held_us or 0) or None
        # Otherwise the row says so already, and who is still inside has been waited for.
        if settled.for_all == bool(row.threads_pending) or (settled.asked and row.threads_pending):
            row = yield from standing(job, (yield from renewed(subject)), success)
        return row._replace(held_us=held_us, changed=changed)
    except UlpError:
        # The process has ended, or a veto or a signal came: what was done before stands.
        return row
