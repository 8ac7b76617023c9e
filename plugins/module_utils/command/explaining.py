# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb ``explain``."""

from __future__ import annotations

from ..dispatch.explain import FAILED, PASSED, explain
from ..dispatch.settings import options_from, policy_from
from ..trigger import outcome
from .output import DONE, REFUSED, show

_VERDICTS = {
    outcome.ALREADY_PATCHED: "is patched", outcome.PENDING: "is patched, but for threads with old functions,"
}
_MARKS = {PASSED: "ok", FAILED: "NO"}


def _explain(arguments):
    settings = vars(arguments)
    found = explain(arguments.process, arguments.livepatches, policy_from(settings), options_from(settings))
    show(arguments, found.as_dict(), _lines(found))
    return DONE if found.possible else REFUSED


def _lines(found):
    """The lines that show a dispatch.explain.Explanation."""
    with_it = f" with {found.livepatch}" if found.livepatch else ""
    name = f" ({found.name})" if found.name else ""
    verdict = "can be patched" if found.possible else "can't be patched"
    if found.possible:
        verdict = _VERDICTS.get(found.outcome, verdict)
    lines = [f"process {found.pid}{name} {verdict}{with_it}"]
    lines.extend(f"  {_MARKS.get(step.result, '-'):2}  {step.name:11}  {step.text}" for step in found.steps)
    lines.append(f"next: {found.next}")
    return lines


VERBS = {"explain": _explain}
