# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answer to a request says of the process, as a Row."""

from __future__ import annotations

import os
import re

from .. import abi
from . import outcome
from .outcome import Row
from .progress import renewed
from .standing import standing

_ERROR_NUMBER = re.compile(r"\berror ([0-9]{1,3})\b")


def verdict(job, subject, answer, success):
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
        row = yield from standing(job, (yield from renewed(subject)), outcome.ALREADY_PATCHED)
        return row._replace(held_us=answer.held_us)
    if result.stage != abi.STAGE_DONE:
        return _failed(row, answer, success)
    row = yield from standing(job, (yield from renewed(subject)), success)
    return row._replace(held_us=answer.held_us, changed=True)


def _failed(row, answer, success):
    """``row`` with the reason why the runtime did not do what it was asked for."""
    result = answer.result
    what = abi.error_sentence(result.error)
    detail = f" ({_spelled(result.detail)})" if result.detail else ""
    if result.error == abi.TEXT_UNWRITABLE and success == outcome.PATCHED:
        # The runtime tries that before all else; what a process has denied itself it does not get back.
        return row._replace(
            outcome=outcome.NOT_PATCHABLE,
            reason=f"process {row.pid} ({row.name}): {what}{detail}: it can neither open /proc/self/mem for writing,"
            " nor may it make memory executable (MemoryDenyWriteExecute=); restart it with the fixed library",
        )
    tries = f", after {answer.attempts} attempts" if abi.is_retryable(result.error) else ""
    return row._replace(reason=f"process {row.pid} ({row.name}): {what}{detail}{tries}")


def _spelled(detail):
    """What the runtime says with the number of an error, in words: it calls no function that has them."""
    return _ERROR_NUMBER.sub(lambda match: os.strerror(int(match.group(1))), detail)
