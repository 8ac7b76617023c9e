# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to one process, from its bytes to the Row that its answer means."""

from __future__ import annotations

from ... import abi
from ...process.errors import ProcessUnpatchable
from ...tracee.requests import require_binding
from ..borrowing.borrow import Borrower
from ..judgement.coroutines import about_unsearched, count_before
from ..judgement.progress import settled_universe
from ..judgement.replacing import replaced_patches
from ..judgement.verdict import verdict_on_answer
from ..resolution.request import Request, build_request
from .settle import settle_threads


def exchange(job, subject, operation, libraries, success, contents=None):
    """Send a request to apply or revert the livepatch, and judge the answer.

    A generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject.
    :param operation: abi.APPLY or REVERT.
    :param libraries: list of request.ResolvedLibrary to apply it to.
    :param success: the outcome when all goes well: outcome.PATCHED or REVERTED.
    :param contents: the bytes of the livepatch for a process that cannot load the file; else None.
    :return: Row.
    :raises MissingDependency: a Python package is missing.
    :raises: as prepared(), and as borrow.Borrower.run.
    """
    require_binding()
    suspended = count_before(job, subject, libraries)
    answer = yield from _ask(job, subject, operation, libraries, suspended.stacks, contents)
    if operation == abi.APPLY and contents is None and job.source.is_shut_out(subject, answer.result):
        answer = yield from _bring(job, subject, libraries, suspended.stacks, answer)
    row = yield from verdict_on_answer(job, subject, answer, success)
    if row.changed and row.threads:
        # A signal or a kill switch that comes meanwhile does not leave half done what was begun.
        row = yield from settle_threads(job.resolute, subject, row, success)
    if row.changed and not suspended.complete:
        row = row._replace(reason="; ".join(filter(None, (row.reason, about_unsearched(subject)))))
    return row


def prepared(job, subject, operation, libraries, suspended, contents=None):
    """The function of a nonce that gives the request's bytes; a generator, arguments as exchange().

    :param suspended: how many stacks were suspended inside before.
    :raises NotPatchable: a function that is to be replaced cannot be hooked.
    :raises ProcessUnpatchable: the request is too long for the runtime.
    """
    bases = {library.library.base for library in libraries}
    domain = next((hooked.domain for hooked in subject.state.libraries if hooked.base in bases), None)
    patch = job.patch_in(subject)
    domain = domain if patch is None else patch.domain
    settled = yield from settled_universe(subject, domain, job.files)
    replaced = []
    if operation == abi.APPLY or job.options.replace:
        replaced = [other.instance_id for other in replaced_patches(job, subject, domain)]

    request = Request(
        operation, job.livepatch, job.source.path if contents is None else "", libraries, settled,
        subject.state.interface, suspended, replaced, job.source.instance_id)

    def build(nonce):
        return build_request(request, nonce)

    size = len(build(1))
    if size > subject.state.request_capacity:
        raise ProcessUnpatchable(
            subject.pid,
            f"process {subject.pid} ({subject.name}): the request for so many functions is {size} bytes long,"
            f" and the runtime takes {subject.state.request_capacity}",
        )
    return build


def _ask(job, subject, operation, libraries, suspended, contents):
    """Have the request carried out; a borrow.Answer."""
    build = yield from prepared(job, subject, operation, libraries, suspended, contents)
    # Landings are pages of a memory file.
    makes_file = contents is not None or any(library.puns is not None for library in libraries)
    return (yield from Borrower(
        subject, job.files, build, job.options, contents=contents, makes_file=makes_file).run())


def _bring(job, subject, libraries, suspended, before):
    """Try again with the bytes; ``before``, the Answer to the first request, stands where they do not load either.

    Then it was not for want of the file, and the first one names that.
    """
    try:
        answer = yield from _ask(job, subject, abi.APPLY, libraries, suspended, job.source.contents())
    except ProcessUnpatchable:
        # A filter forbids what only this way needs.
        return before
    if answer.result is None or answer.result.error == abi.LOAD_FAILED:
        return before
    return answer._replace(
        held_us=max(before.held_us or 0.0, answer.held_us or 0.0) or None,
        attempts=before.attempts + answer.attempts,
    )
