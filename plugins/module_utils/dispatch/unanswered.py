# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to say of a process that was not finished, because it never answered or a signal came.

Nobody knows whether it is of concern.  What cannot be known counts as not
patched, so it has a row.
"""

from __future__ import annotations

import signal

from ..trigger import outcome
from ..trigger.outcome import Row
from .pool import CROWDED_OUT, CUT_SHORT, LATE, LONG_STEP, TOO_LARGE
from .select import short_name_of
from .worker import MOST_MEMORY


def why(answer, name, seconds):
    """The sentence for a pool.Answer without a result.

    :param name: of the process.
    :param seconds: how long it was given.
    """
    process = f"process {answer.task.pid} ({name})"
    if answer.problem == LATE:
        return (
            f"{process} takes too long to examine: it does not show within {seconds:g} seconds what it runs; end it,"
            " exclude it, or raise the examine timeout"
        )
    if answer.problem == CROWDED_OUT:
        return (
            f"{process} takes too long to examine: it does not show within {LONG_STEP:g} seconds what it runs, nor do"
            " many others, so that there was no time to look at it again; end them, or exclude them"
        )
    if answer.problem == TOO_LARGE:
        return (
            f"{process} takes too much memory to examine: all that is examined at a time may take"
            f" {MOST_MEMORY >> 20} MB; end it, or exclude it"
        )
    if answer.problem == CUT_SHORT:
        return f"{process} was being dealt with when a signal came"
    how = signal.Signals(answer.signal).name if answer.signal else "an error"
    return f"{process} could not be examined: the worker process that looked at it was ended by {how}; run again"


def row_of(answer, seconds):
    """The Row for a pool.Answer without a result, as long as no more is known; arguments as why()."""
    name = short_name_of(answer.task.pid)
    row = Row(answer.task.pid, name, outcome.FAILED, why(answer, name, seconds))
    if not answer.task.touched:
        return row
    # Whoever only looks, as a list does, never comes here.
    from ..trigger.operations.aftermath import unknown

    return unknown(row)


def with_what_was_found_out(row, answer):
    """``row``, as row_of() gave it, after a later look: a list of Row, empty when there is no such process any more.

    :param answer: the pool.Answer to that look, of which the value is a deal.Found.
    """
    if answer.problem is not None:
        return [row]
    if answer.value.ended:
        if answer.task.touched:
            from ..trigger.operations.aftermath import ended

            return [ended(row)]
        return [row] if answer.task.named else []
    return [*answer.value.rows, *([row] if answer.value.unfinished or not answer.value.rows else [])]
