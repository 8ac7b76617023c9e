# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that is as it was asked to be: say so, and settle the threads that need nothing else."""

from __future__ import annotations

from ...errors import UlpError
from ..judgement.verdict import verdict_by_reading


def looking_and_settling(job, subject, success):
    """Settle threads that lag behind, if that can be, in a process that has what was asked for.

    The livepatch is neither applied nor taken back by that: the row says *changed* of nothing.  A generator, as
    trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param success: the outcome when no thread is pending.
    :return: Row.
    """
    row = yield from verdict_by_reading(job, subject, success)
    if not row.threads_pending or job.options.check:
        return row
    # In most processes no thread is pending: these need not wait for what borrows one.
    from ...process.subject import has_ended, require_available
    from ...tracee.requests import require_binding
    from ..borrowing.room import require_memory
    from ..borrowing.seccomp_check import require_no_strict_thread
    from .settle import settle_threads

    try:
        require_binding()
        require_available(subject.pid, subject.proc_tid)
        require_no_strict_thread(subject.pid)
        require_memory(subject)
    except UlpError:
        if has_ended(subject.pid):
            raise
        # No thread can be borrowed: what was found stands.
        return row
    return (yield from settle_threads(job, subject, row, success))
