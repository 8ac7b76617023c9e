# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a livepatch anew, for a library that a process has loaded since it was applied."""

from __future__ import annotations

from ... import abi
from ...errors import UlpError
from ...tracee.requests import require_binding
from .. import outcome
from ..borrowing.borrow import Borrower
from ..judgement.coroutines import count_before
from ..judgement.neighbours import neighbours, replaced_functions, require_independence
from ..judgement.progress import renewed
from ..judgement.verdict import verdict_on_answer
from ..outcome import Row
from .exchange import exchange, prepared


def require_repeatable(job, subject, libraries):
    """Refuse what can be foreseen before anything is taken back; a generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param libraries: list of request.ResolvedLibrary: all that the livepatch is for.
    :raises NotPatchable, ProcessUnpatchable, UlpError: it would not be applied again.
    """
    require_independence(subject, job.livepatch)
    applied = job.patch_in(subject)
    bases = {library.library.base for library in libraries}
    if len({hooked.domain for hooked in subject.state.libraries if hooked.base in bases}) > 1:
        raise UlpError(
            f"process {subject.pid} ({subject.name}) has loaded a further library since the livepatch was applied,"
            " and it was patched apart from the others; revert this livepatch, or restart the process"
        )
    own = replaced_functions(job.livepatch)
    for patch, other in neighbours(subject, job.livepatch):
        if patch.applied_universe > applied.applied_universe and not own.isdisjoint(replaced_functions(other)):
            raise UlpError(
                f"process {subject.pid} ({subject.name}) has loaded a further library since the livepatch was"
                f" applied, which can only be applied to it from below {patch.name}; revert that first"
            )
    yield from prepared(job, subject, abi.APPLY, libraries, 0)


def reapply(job, subject, libraries):
    """Take the livepatch back and apply it to ``libraries``: some of them were loaded after it was applied.

    A generator, as trigger.drive wants it; arguments as require_repeatable().

    :return: Row.
    :raises: as exchange(), before anything is taken back.
    """
    known = {hooked.base for hooked in subject.state.libraries}
    before = [library for library in libraries if library.library.base in known]
    require_binding()
    suspended = count_before(job, subject, [])
    build = yield from prepared(job, subject, abi.REVERT, [], suspended.stacks)
    # Without a look at the threads: the time without the livepatch is to be short.
    reverted = yield from Borrower(subject, job.files, build, job.options).run()
    subject = yield from renewed(subject)
    if job.patch_in(subject).applied:
        return (yield from verdict_on_answer(job, subject, reverted, outcome.REVERTED))
    # From here on, nothing but a failure may keep it from being applied.
    job = job.resolute
    row = yield from _tried(job, subject, libraries)
    if row.outcome in outcome.WITHOUT:
        restored = yield from _tried(job, subject, before)
        what = "not applied any more" if restored.outcome in outcome.WITHOUT else "applied as before"
        row = row._replace(
            outcome=outcome.FAILED,
            reason=f"{row.reason}; the livepatch was to be applied anew, for a library that was loaded since, and"
                   f" is {what}"
        )
    return row._replace(changed=True, held_us=max(reverted.held_us or 0.0, row.held_us or 0.0))


def _tried(job, subject, libraries):
    try:
        return (yield from exchange(job, subject, abi.APPLY, libraries, outcome.PATCHED))
    except UlpError as error:
        return Row(subject.pid, subject.name, outcome.FAILED, str(error))
