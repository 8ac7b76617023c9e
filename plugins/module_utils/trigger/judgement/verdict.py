# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a process is with a livepatch, as a Row: by reading alone, and after its answer to a request."""

from __future__ import annotations

import os
import re

from ... import abi
from ...process.errors import ProcessGone
from ...process.subject import has_ended
from .. import outcome
from ..outcome import Row
from .coroutines import about_suspended, count_now
from .pending import about_pending
from .progress import migration, renewed
from .undone import undoing

_FUNCTION = r"\bfunction at 0x(?P<address>[0-9a-f]{1,16}) of (?P<library>[^ ,]+)"
_ERROR_NUMBER = r"\berror ([0-9]{1,3})\b"


def verdict_by_reading(job, subject, success):
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
    found = yield from migration(
        subject, patch, job.files, until_migrated=until, seconds=job.options.sample)
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


def verdict_on_answer(job, subject, answer, success):
    """The Row of a process that we have asked to apply or revert the livepatch.

    A generator, as trigger.drive wants it.

    :param job: job.Job.
    :param subject: process.subject.Subject, from before the request.
    :param answer: borrow.Answer.
    :param success: the outcome when all went well: outcome.PATCHED or REVERTED.
    """
    pid, name, result = subject.pid, subject.name, answer.result
    row = Row(pid, name, outcome.FAILED, held_us=answer.held_us)
    if result is None:
        why = answer.refusal or "all its threads sleep in the kernel"
        return row._replace(reason=f"no thread of process {pid} ({name}) could be borrowed: {why}")
    if result.stage in (abi.STAGE_STARTED, abi.STAGE_WAITS):
        return row._replace(
            outcome=outcome.PENDING,
            changed=True,
            reason=f"process {pid} ({name}) is still loading the livepatch after {job.options.timeout:g} seconds;"
            " check it later",
        )
    if result.error == abi.ALREADY_APPLIED and success == outcome.PATCHED:
        # Somebody else was faster; a thread was held all the same.
        row = yield from verdict_by_reading(job, (yield from renewed(subject)), outcome.ALREADY_PATCHED)
        return row._replace(held_us=answer.held_us)
    if result.stage != abi.STAGE_DONE:
        return _failed(row, answer, success, job.livepatch)
    row = yield from verdict_by_reading(job, (yield from renewed(subject)), success)
    return row._replace(held_us=answer.held_us, changed=True)


def _failed(row, answer, success, livepatch):
    """``row`` with the reason why the runtime did not do what it was asked for."""
    result = answer.result
    what = abi.error_sentence(result.error)
    detail = f" ({_spelled(result.detail, livepatch)})" if result.detail else ""
    if result.error == abi.TEXT_UNWRITABLE and success == outcome.PATCHED:
        # The runtime tries that before all else; what a process has denied itself it does not get back.
        return row._replace(
            outcome=outcome.NOT_PATCHABLE,
            reason=f"process {row.pid} ({row.name}): {what}{detail}: it can neither open /proc/self/mem for writing,"
            " nor may it make memory executable (MemoryDenyWriteExecute=); restart it with the fixed library",
        )
    tries = f", after {answer.attempts} attempts" if abi.is_retryable(result.error) else ""
    return row._replace(reason=f"process {row.pid} ({row.name}): {what}{detail}{tries}")


def _spelled(detail, livepatch):
    """What the runtime says with addresses of functions and numbers of errors, in words: it has no names for them."""
    detail = re.sub(_FUNCTION, lambda match: _named(match, livepatch), detail)
    return re.sub(_ERROR_NUMBER, lambda match: os.strerror(int(match.group(1))), detail)


def _named(match, livepatch):
    """The function that _FUNCTION has found, by its name; as it is where the livepatch does not tell that."""
    # Only who has to report a failure waits for it.
    from ..resolution.stock import stock_functions

    address = int(match.group("address"), 16)
    names = {
        function.name for target in livepatch.targets for function in stock_functions(target)
        if function.address == address and target.soname == match.group("library")
    }
    return f"the function {names.pop()} of {match.group('library')}" if len(names) == 1 else match.group()
