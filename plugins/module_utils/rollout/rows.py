# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows of a host the role has to do something about."""

from __future__ import annotations

from ..trigger import outcome
from ..trigger.outcome import MEANINGS

# What to ask of a row. What runs Ansible ends with the run.
QUESTIONS = {
    "need_restart": lambda row: MEANINGS[row["outcome"]].restart and not row["runs_ansible"],
    "failed": lambda row: outcome.is_failure(row["outcome"], row["threads_pending"]) and not row["runs_ansible"],
    "unfinished": lambda row: MEANINGS[row["outcome"]].loaded and not MEANINGS[row["outcome"]].applied,
}


def rows_that(rows, question):
    """Those of ``rows``, dicts, of which one of QUESTIONS is true."""
    return [row for row in rows if QUESTIONS[question](row)]


def as_it_is(row):
    """``row`` of a dispatch in check mode, a dict, without the runtime that would have been loaded."""
    return dict(row, attached=row["attached"] and not row["attached_now"], attached_now=False)


def ours(applied, planned, known, by_name):
    """The PIDs of the processes that this run has patched, or what it installed: those that a stage takes back.

    Not those that had the livepatch before, nor those that nobody may touch.

    :param applied: rows of what is applied now, dicts, as the module ``ulp_check`` gives them.
    :param planned: the rows of the plan.
    :param known: the rows of the apply; None: it gave no answer.
    :param by_name: whether the run is for processes of some names only: what has another was patched by somebody else.
    """
    spared = {row["pid"] for row in planned if MEANINGS[row["outcome"]].was_loaded}
    spared |= {row["pid"] for row in (planned if known is None else known) if row["outcome"] == outcome.EXCLUDED}
    names = {row["name"] for row in known or ()}
    return [
        row["pid"] for row in applied
        if MEANINGS[row["outcome"]].was_loaded and row["pid"] not in spared and (row["name"] in names or not by_name)
    ]
