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


def about(row):
    """What tells ``row``, a dict, from others of its host: the process and the livepatch that it is about."""
    return row["pid"], row["patch_id"]


def names_of(livepatches):
    """{patch ID: name} of ``livepatches``, dicts with patch_id and name; empty unless there are several."""
    return {its["patch_id"]: its["name"] for its in livepatches} if len(livepatches) > 1 else {}


def reason_of(row, names):
    """The reason of ``row``, a dict, with the livepatch that it is about, if that is one of ``names``: names_of()."""
    which = f"livepatch {names[row['patch_id']]}" if row["patch_id"] in names else ""
    return "; ".join(filter(None, (which, row["reason"])))


def as_it_is(row):
    """``row`` of a dispatch in check mode, a dict, without the runtime that would have been loaded."""
    return dict(row, attached=row["attached"] and not row["attached_now"], attached_now=False)


def ours(applied, planned, known, by_name):
    """What this run has done to processes, or what it installed: what a stage takes back.

    Not from those that had the livepatch before, nor from those that nobody may touch.

    :param applied: what is applied now, a dict as the module ``ulp_check`` gives it, or an empty one.
    :param planned: the rows of the plan.
    :param known: the rows of the apply; None: it gave no answer.
    :param by_name: whether the run is for processes of some names only: what has another was patched by somebody else.
    :return: dicts with path (of the livepatch on the host) and pids, in the order in which they are to be reverted.
    """
    spared = {about(row) for row in planned if MEANINGS[row["outcome"]].was_loaded}
    spared |= {about(row) for row in (planned if known is None else known) if row["outcome"] == outcome.EXCLUDED}
    names = {row["name"] for row in known or ()}
    taken = [
        row for row in applied.get("processes", ())
        if MEANINGS[row["outcome"]].was_loaded and (row["name"] in names or not by_name)
        # Of one that nobody may look at, none in particular is spared.
        and about(row) not in spared and (row["pid"], "") not in spared
    ]
    found = [
        {"path": livepatch["path"], "pids": [row["pid"] for row in taken if row["patch_id"] == livepatch["patch_id"]]}
        # What depends on another one comes after that.
        for livepatch in reversed(applied.get("livepatches", ()))
    ]
    return [its for its in found if its["pids"]]
