# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the processes of a host from the apply to the end of its stage."""

from __future__ import annotations

from ..trigger import outcome
from .rows import about, as_it_is


def rows_now(known, now, newcomers):
    """The rows that are reported at the end of a stage: a list of dicts.

    :param known: the rows of the apply, dicts.
    :param now: rows of the same processes and of others, as a dispatch in check mode gives them now.
    :param newcomers: whether processes that are only in ``now`` count: not where processes were chosen by PID, nor
        where a timer gets them within seconds.
    """
    later = {about(row): as_it_is(row) for row in now}
    rows = [_row_now(row, later.pop(about(row), None)) for row in known]
    if newcomers:
        rows += [_newcomer(row) for row in later.values() if _is_concern(row)]
    return rows


def _row_now(row, now):
    if not outcome.MEANINGS[row["outcome"]].loaded:
        return row
    if now is None:
        return dict(
            row, outcome=outcome.NOT_APPLICABLE, reason="it has ended since it was patched", threads=0,
            threads_pending=0,
        )
    found = dict(now, attached_now=row["attached_now"])
    if now["outcome"] == outcome.PENDING:
        return dict(found, held_us=row["held_us"])
    if now["outcome"] == outcome.ALREADY_PATCHED:
        before = row["outcome"] == outcome.ALREADY_PATCHED
        return dict(found, held_us=row["held_us"], outcome=outcome.ALREADY_PATCHED if before else outcome.PATCHED)
    return dict(found, outcome=outcome.FAILED, reason=now["reason"] or "it is not patched any more")


def _is_concern(row):
    # A shell by which Ansible runs the next task is another one each time.
    return row["outcome"] in (outcome.PATCHED, outcome.NOT_PATCHABLE) and not row["runs_ansible"]


def _newcomer(row):
    if outcome.MEANINGS[row["outcome"]].restart:
        return row
    return dict(row, outcome=outcome.FAILED, reason="it started after the others were patched: run again")
