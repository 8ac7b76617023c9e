# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a run."""

from __future__ import annotations

from .host import REVERT_INCOMPLETE, UNREACHABLE, UNTOUCHED
from .report import LEFT_PATCHED, LEFT_VULNERABLE, summary

# How many processes the console names; the report has all of them.
_NAMED = 20


def ending(document, fail_on_vulnerable, check=False):
    """How a run ended, for the console.

    :param document: the report.
    :param fail_on_vulnerable: whether the run has failed when processes are left.
    :param check: nothing was done; the report has what would be.
    :return: dict with state, lines (what is said of a run in any case) and failure (why it has failed, empty if it has
        not), lists of str. The summary is the last of whichever comes last.
    """
    stop = document["message"]
    state = document["state"]
    incomplete = _names(document, REVERT_INCOMPLETE)
    # After a stop it is the stop that matters, and that most hosts were not reached is what it is for.
    missing = _names(document, UNREACHABLE) + ([] if stop else _names(document, UNTOUCHED))
    failure = stop.splitlines()
    if incomplete:
        failure.append(f"NOT reverted completely: {', '.join(incomplete)}")
    if missing:
        failure.append(f"could not be reached: {', '.join(missing)}")
    failed = failure or (fail_on_vulnerable and state in (LEFT_VULNERABLE, LEFT_PATCHED))
    lines = []
    for words, rows in (
        ("still vulnerable", document["still_vulnerable"]), ("still patched", document["still_patched"]),
    ):
        said = f"would be {words}" if check else words
        lines += [f"{said}: {_line(row)}" for row in rows[:_NAMED]]
        if len(rows) > _NAMED:
            lines.append(f"{said}: {len(rows) - _NAMED} more" + ("" if check else ", which the report names"))
    (failure if failed else lines).append(summary(document, check))
    return {"state": state, "lines": lines, "failure": failure}


def _names(document, status):
    return [host["name"] for host in document["hosts"] if host["status"] == status]


def _line(row):
    how = f"; {row['restart']}" if row["restart"] else ""
    return f"{row['host']}, {row['name']} ({row['pid']}): {row['reason']}{how}"
