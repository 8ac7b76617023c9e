# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of one process: the row that every tool shows."""

from __future__ import annotations

from ..named_tuple import NamedTuple

PATCHED = "patched"
ALREADY_PATCHED = "already_patched"
REVERTED = "reverted"
NOT_APPLICABLE = "not_applicable"
ALREADY_FIXED_ON_DISK = "already_fixed_on_disk"
NOT_PATCHABLE = "not_patchable"
EXCLUDED = "excluded"
PENDING = "pending"
FAILED = "failed"
# What only reports say, of a process on a host that a rollout did not come to.
NOT_REACHED = "not_reached"

# In the reason of a process that somebody else has a breakpoint in: a restart does not take it off.
PROBES = "a probe (perf, bpftrace, SystemTap) or a debugger"
BREAKPOINT_SET = f"a breakpoint is set at its entry, as {PROBES} does"
BREAKPOINTS_SET = f"breakpoints are set at their entries, as {PROBES} does"

OUTCOMES = (
    PATCHED,
    ALREADY_PATCHED,
    REVERTED,
    NOT_APPLICABLE,
    ALREADY_FIXED_ON_DISK,
    NOT_PATCHABLE,
    EXCLUDED,
    PENDING,
    FAILED,
)


# How a report shows an outcome.
GOOD, WAIT, BAD = "good", "wait", "bad"


class Meaning(NamedTuple):
    """What an outcome says of the process."""

    colour: str  # GOOD, WAIT or BAD, when the livepatch is to be applied
    words: str
    applied: bool = False  # every thread uses the new functions
    loaded: bool = False  # the livepatch is in it, and some threads at least use the new functions
    achieved: bool = False  # whoever says so has done it; in check mode: would do it
    vulnerable: bool = False  # it runs old functions of the vulnerable library, or may
    restart: bool = False  # nothing but a restart of the process helps
    may_remain: bool = False  # said after a revert: it may have the livepatch

    @property
    def was_loaded(self):
        """Whether the livepatch was in the process before anything was done."""
        return self.loaded and not self.achieved


MEANINGS = {
    PATCHED: Meaning(GOOD, "patched", applied=True, loaded=True, achieved=True, may_remain=True),
    ALREADY_PATCHED: Meaning(GOOD, "already patched", applied=True, loaded=True, may_remain=True),
    REVERTED: Meaning(WAIT, "reverted", achieved=True, vulnerable=True),
    NOT_APPLICABLE: Meaning(GOOD, "not applicable"),
    ALREADY_FIXED_ON_DISK: Meaning(GOOD, "already fixed on disk"),
    NOT_PATCHABLE: Meaning(BAD, "not patchable", vulnerable=True, restart=True),
    EXCLUDED: Meaning(WAIT, "excluded", vulnerable=True, may_remain=True),
    PENDING: Meaning(WAIT, "pending", loaded=True, vulnerable=True, may_remain=True),
    FAILED: Meaning(BAD, "failed", vulnerable=True, may_remain=True),
    NOT_REACHED: Meaning(WAIT, "not reached", vulnerable=True, may_remain=True),
}


# What comes first stands for a process to which several livepatches were dispatched.
_PRECEDENCE = (
    FAILED, PENDING, NOT_PATCHABLE, NOT_REACHED, EXCLUDED, REVERTED, PATCHED, ALREADY_PATCHED, ALREADY_FIXED_ON_DISK,
    NOT_APPLICABLE,
)


def by_process(outcomes):
    """The one outcome that stands for each process: {process: word}.

    :param outcomes: pairs of a process (whatever tells it from others) and an outcome; of one process there may be
        several, for as many livepatches.
    """
    found: dict = {}
    for process, word in outcomes:
        found[process] = min(word, found.get(process, word), key=_PRECEDENCE.index)
    return found


def is_failure(word, threads_pending):
    """Whether nobody may take the outcome ``word`` for success: threads that are inside get there by themselves."""
    return word == FAILED or (word == PENDING and not threads_pending)


class Row(NamedTuple):
    """One process and what became of it."""

    pid: int
    name: str
    outcome: str
    reason: str = ""  # one sentence, or "" where the outcome says it all
    threads: int = 0
    threads_pending: int = 0
    held_us: float | None = None  # the longest time that a thread was held, microseconds; None: none was
    changed: bool = False  # whether the process is now another than before
    container: str | None = None  # short ID of the container that it is in, if not in ours
    coroutines: int = 0  # entries into the library on stacks that no thread was started with
    attached: bool = False  # the runtime was loaded into it while it ran
    attached_now: bool = False  # by whoever says so; in check mode: it would be
    unsettled: bool = False  # the pending threads are outside: to be settled is all that they need
    patch_id: str = ""  # the livepatch that it is about; "": none in particular of several, or all of a library

    def as_dict(self):
        """The row as modules and ``--json`` give it."""
        fields = self._asdict()
        del fields["changed"], fields["unsettled"]
        return fields


# Outcomes of an attempt after which the livepatch is not applied, the worst first.
WITHOUT = (FAILED, NOT_PATCHABLE)


def combined(rows) -> Row:
    """The Row of a process by those of the copies of a library in it: all must have what was asked for.

    A copy that does not get it counts before one that still waits for its threads.
    """
    words = {row.outcome for row in rows}
    word = next((word for word in WITHOUT if word in words), None) or by_process((0, word) for word in words)[0]
    worst = [row for row in rows if row.outcome == word]
    return worst[0]._replace(
        reason="; ".join(dict.fromkeys(row.reason for row in rows if row.reason)),
        threads=max(row.threads for row in rows),
        # One thread may be inside of several.
        threads_pending=max(row.threads_pending for row in rows),
        held_us=max((row.held_us for row in rows if row.held_us is not None), default=None),
        changed=any(row.changed for row in rows),
        coroutines=max(row.coroutines for row in rows),
        attached=any(row.attached for row in rows),
        attached_now=any(row.attached_now for row in rows),
        unsettled=all(row.unsettled for row in worst),
    )
