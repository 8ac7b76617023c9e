# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs that deal with processes: ``trigger``, ``check``, ``dispatch``, ``messages``."""

from __future__ import annotations

import os
import sys

from ..dispatch.dispatch import dispatch, revert_all_of
from ..dispatch.messages import messages_of
from ..dispatch.result import CHECK, PATCH, REVERT
from ..dispatch.select import Selection
from ..dispatch.settings import options_from, policy_from
from ..trigger import outcome
from .output import DONE, PENDING, REFUSED, SIGNALLED, complain, discard_output, show
from .report import outcome_table


def _is_good(row):
    """Whether the process is as it was asked to be, if only for threads that have not got there yet."""
    meaning = outcome.MEANINGS[row.outcome]
    return meaning.achieved or (meaning.loaded and not outcome.is_failure(row.outcome, row.threads_pending))


def _sentence(row):
    """What to say of a process that is not as it should be."""
    return row.reason or f"the livepatch was reverted in process {row.pid} ({row.name})"


def _trigger(arguments):
    result = dispatch(
        arguments.livepatch,
        REVERT if arguments.revert else PATCH,
        Selection((arguments.process,)),
        options_from(vars(arguments)),
        policy_from(vars(arguments)),
    )
    for warning in result.warnings:
        complain(warning)
    # None, if a signal came before.
    row = result.rows[0] if result.rows else None
    good = row is not None and _is_good(row)
    _show_of(result, arguments, row.as_dict() if row else None, outcome_table([row]) if good else [])
    if row is not None and not good:
        complain(row.reason)
    return _status(result, DONE if good else REFUSED)


def _show_of(result, arguments, value, lines):
    """show(), for a Dispatched ``result``: what a signal cut short was for a terminal that may be gone."""
    try:
        show(arguments, value, lines)
        sys.stdout.flush()
    except OSError:
        if not result.signal:
            raise
        discard_output()


def _status(result, status):
    """The exit status of Dispatched ``result``, which is ``status`` unless a signal came; complains of that."""
    if not result.signal:
        return status
    complain(result.interruption)
    return SIGNALLED + result.signal


def _check(arguments):
    result = dispatch(arguments.livepatches, CHECK, Selection((arguments.process,)), options_from(vars(arguments)))
    rows = [row.as_dict() for row in result.rows]
    lines = _table(result, [row for row in result.rows if _is_good(row)])
    show(arguments, rows[0] if len(result.livepatches) == 1 else rows, lines)
    return _applied_status(result)


def _table(result, rows):
    """The lines that show ``rows`` of Dispatched ``result``; which livepatch each is about, if there are several."""
    if not rows:
        return []
    names = {livepatch.patch_id: os.path.basename(livepatch.path) for livepatch in result.livepatches}
    return outcome_table(rows, names if len(names) > 1 else {})


def _applied_status(result):
    """The exit status that says whether the livepatch is applied; complains of processes that do not have it."""
    without = [row for row in result.lacking if not outcome.MEANINGS[row.outcome].loaded]
    for row in without:
        complain(_sentence(row))
    if without:
        return REFUSED
    return PENDING if result.lacking else DONE


def _dispatch(arguments):
    options, policy = options_from(vars(arguments), check=arguments.dry_run), policy_from(vars(arguments))
    livepatches = [operand for operand in arguments.operands if isinstance(operand, str)]
    pids = tuple(operand for operand in arguments.operands if isinstance(operand, int))
    selection = Selection(pids, tuple(arguments.name))
    if arguments.all_of is not None:
        result = revert_all_of(arguments.all_of, selection, options, policy)
    else:
        result = dispatch(livepatches, arguments.operation, selection, options, policy)
    for warning in result.warnings:
        complain(warning)
    lines = _table(result, result.rows)
    if not result.rows:
        which = "this livepatch is" if len(result.livepatches) == 1 else "these livepatches are"
        what = f"a library that {which} for" if arguments.all_of is None else arguments.all_of
        lines = [] if result.signal else [f"no process runs {what}"]
    _show_of(result, arguments, [row.as_dict() for row in result.rows], lines)
    if result.operation == CHECK:
        return _applied_status(result)
    bad = result.failures + [row for row in result.unmet if row not in result.failures]
    for row in bad:
        complain(_sentence(row))
    if result.incomplete:
        complain(result.incomplete)
    return _status(result, REFUSED if bad or result.incomplete else DONE)


def _messages(arguments):
    lines = messages_of(arguments.process, arguments.examine_timeout)
    show(arguments, lines, lines)
    return DONE


VERBS = {
    "trigger": _trigger,
    "check": _check,
    "dispatch": _dispatch,
    "messages": _messages,
}
