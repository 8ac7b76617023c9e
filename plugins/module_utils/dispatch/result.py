# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of all processes that one livepatch was dispatched to, and what that means for whoever asked."""

from __future__ import annotations

from collections import Counter
from signal import Signals

from ..named_tuple import NamedTuple
from ..trigger import outcome
from ..trigger.outcome import Row

PATCH = "patch"
REVERT = "revert"
CHECK = "check"

_APPLIED = tuple(word for word in outcome.OUTCOMES if outcome.MEANINGS[word].applied)
# Processes that the livepatch is not for.
UNCONCERNED = (outcome.NOT_APPLICABLE, outcome.ALREADY_FIXED_ON_DISK)
# What a process that was asked for by PID should be in the end.
_ASKED_FOR = {
    PATCH: _APPLIED,
    REVERT: (outcome.REVERTED, *UNCONCERNED),
    CHECK: _APPLIED,
}


class DispatchedLivepatch(NamedTuple):
    """One of the livepatches that were dispatched."""

    path: str
    patch_id: str
    labels: dict[str, list[str]]
    signer: str | None  # the principal whose signature was verified
    retracted: bool  # it was not applied, because it is retracted


class Dispatched(NamedTuple):
    """What became of all processes."""

    operation: str  # PATCH, REVERT or CHECK
    patch_id: str  # "": of several livepatches, or of none in particular
    rows: list[Row]
    warnings: list[str]
    stopped: bool = False  # nothing was applied, because of the kill switch
    retracted: bool = False  # a livepatch was not applied, because it is retracted
    signer: str | None = None  # the principal whose signature was verified, if it is the same for all livepatches
    named: frozenset[int] = frozenset()  # the PIDs that were asked for by number
    signal: int = 0  # the signal that kept further processes from being dealt with; 0: none
    incomplete: str | None = None  # why there may be further processes to deal with, one sentence; None: there are none
    labels: dict[str, list[str]] = {}  # what the livepatches are about
    livepatches: tuple[DispatchedLivepatch, ...] = ()  # in the order in which they were dealt with

    @property
    def interruption(self):
        """What to say of the signal that came, one sentence; None: none came."""
        if not self.signal:
            return None
        done = "those that were begun are finished and listed" if self.rows else "none had been begun"
        return f"interrupted by {Signals(self.signal).name}: no further process is touched, and {done}"

    @property
    def lacking(self):
        """The rows of the processes that should have the livepatch on every thread, and have not.

        Those are the ones that it is for, and every one that was asked for by PID.
        """
        return [
            row for row in self.rows
            if row.outcome not in _APPLIED
            and (row.pid in self.named or row.outcome not in (*UNCONCERNED, outcome.EXCLUDED))
        ]

    @property
    def applied(self):
        """Whether every process that the livepatch is for, or that was asked for by PID, has it on every thread."""
        return not self.lacking

    @property
    def changed(self):
        """Whether any process is now another than before."""
        return any(row.changed for row in self.rows)

    @property
    def failures(self):
        """The rows that nobody may take for success, such as one of a PID that was asked for and cannot be patched."""
        return [
            row for row in self.rows
            if outcome.is_failure(row.outcome, row.threads_pending)
            or (outcome.MEANINGS[row.outcome].restart and row.pid in self.named)
        ]

    @property
    def unmet(self):
        """The rows of processes that were asked for by PID and are not as they were asked to be.

        One whose threads get there by themselves is.
        """
        return [
            row for row in self.rows
            if row.pid in self.named and row.outcome not in _ASKED_FOR[self.operation]
            and not (row.outcome == outcome.PENDING and row.threads_pending)
        ]


def count_outcomes(rows):
    """{outcome: number of processes that have it}, only those that occur; for one with several Row the worst counts."""
    return dict(Counter(outcome.by_process((row.pid, row.outcome) for row in rows).values()))


def state_text(result, after):
    """Text to compare: a line for each process that Dispatched ``result`` changed, as it was or is ``after``."""
    state = "applied" if (result.operation == PATCH) == after else "not applied"
    return "".join(
        f"{row.pid} {row.name}: {row.patch_id[:16] or 'all livepatches of the library'} {state}\n"
        for row in result.rows if row.changed
    )
