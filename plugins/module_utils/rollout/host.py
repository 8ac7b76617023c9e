# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout knows of one host, and the words for how it fared."""

from __future__ import annotations

from ..counted import counted
from ..named_tuple import NamedTuple
from ..trigger import outcome
from ..trigger.outcome import BAD, GOOD, WAIT
from .faults import failure
from .restarts import restarts
from .rows import about, as_it_is

# The statuses of a host, as ``docs/operator.md`` explains them.
PLANNED = "planned"  # only while the rollout is under way: it is to get the livepatch, or to have it reverted
PATCHED = "patched"
PARTLY = "partly"
UNCONCERNED = "unconcerned"
REVERTED = "reverted"
REVERT_INCOMPLETE = "revert_incomplete"
HELD = "held"
UNTOUCHED = "untouched"
UNREACHABLE = "unreachable"
ERROR = "error"
FAILED = "failed"

ABSENT = "absent"


class Status(NamedTuple):
    """What a status says of the host."""

    colour: str  # outcome.GOOD, WAIT or BAD, in a rollout
    left: str = ""  # how a summary counts it among what is left, behind "3 hosts"; "": it does not
    unseen: bool = False  # nobody knows what it runs


# Hosts that nobody got to come first, those where all is well last.
STATUSES = {
    UNREACHABLE: Status(BAD, "not reached", unseen=True),
    ERROR: Status(BAD, "that could not be asked", unseen=True),
    FAILED: Status(BAD, "where it failed"),
    REVERT_INCOMPLETE: Status(BAD, "not reverted completely"),
    PARTLY: Status(WAIT),
    REVERTED: Status(WAIT),
    UNTOUCHED: Status(WAIT, "to which the run did not come"),
    PLANNED: Status(WAIT),
    HELD: Status(WAIT, "on hold", unseen=True),
    PATCHED: Status(GOOD),
    UNCONCERNED: Status(GOOD),
}


class Host:
    """A host of the rollout, by the facts that the role ``ulp_livepatch`` has set on it."""

    def __init__(self, name, facts, direction):
        """
        :param name: its name in the inventory.
        :param facts: mapping; its keys begin with ``__ulp_livepatch_``.
        :param direction: the run's, ``present`` or ``absent``.
        """
        self.name = name
        self._facts = facts
        self.run_direction = direction
        self.direction = self.fact("direction") or direction
        stage = self.fact("stage")
        self.stage = None if stage is None else int(stage)
        plan = self.fact("plan") or {}
        # One that gave no answer has none.
        self.plan = plan if plan.get("processes") is not None else None
        self.taken_back = self.fact("taken_back")
        self.result = self.fact("result") or {}
        self.trouble = (self.fact("trouble") or []) + self._loss()
        if self.direction == ABSENT and direction != ABSENT and self.plan is not None:
            self._plan_revert()
        self.rows = self._rows()

    def fact(self, name):
        """The fact ``__ulp_livepatch_NAME``, or None."""
        return self._facts.get("__ulp_livepatch_" + name)

    @property
    def planned(self):
        """Whether the host takes part, as far as the run has come."""
        return self.readiness == PLANNED and not self.left_out

    @property
    def left_out(self):
        """Whether it was lost before its stage, so that nothing was done to it."""
        return bool(self.result.get("untouched"))

    def _plan_revert(self):
        """Where the livepatch is retracted the host was asked again, about a revert."""
        answer = self.fact("plan_of_revert")
        if answer is None:
            return
        if answer.get("processes") is not None:
            self.plan = answer
        else:
            self.plan = None
            self.trouble.append(failure(answer))

    @property
    def readiness(self):
        """How it stood when it was looked at: the fact, or ERROR where there was no answer."""
        status = self.fact("status")
        retracts = self.direction == ABSENT and self.run_direction != ABSENT
        return ERROR if status == PLANNED and retracts and self.plan is None else status

    def _loss(self):
        if self.left_out:
            return [self.result["msg"]]
        lost = next((its for its in (self.result, self.fact("ping") or {}) if its.get("unreachable")), None)
        return [f"it could not be reached any more: {lost['msg']}"] if lost is not None else []

    @property
    def was_dealt_with(self):
        """Whether something is known of the processes that came after the plan."""
        return self.result.get("processes") is not None

    def _rows(self):
        """The rows of the processes, dicts, with what became of them last, and how each would be restarted."""
        stuck = {its["pid"]: its["command"] for its in self.restarts}
        back = {about(row): row["outcome"] for row in (self.taken_back or {}).get("processes", [])}
        rows = []
        # The plan says what would be done; it was not.
        for row in self._known() if self.was_dealt_with else map(as_it_is, self._known()):
            now = back.get(about(row), row["outcome"])
            if not self.was_dealt_with and outcome.MEANINGS[now].achieved:
                now = outcome.NOT_REACHED
            rows.append(dict(row, outcome=now, restart=stuck.get(row["pid"], "")))
        return rows

    @property
    def restarts(self):
        """How its processes that can't be patched would be restarted, as restarts.restarts() says."""
        return [] if self.direction == ABSENT else restarts(self._known())

    def _known(self):
        return self.result["processes"] if self.was_dealt_with else (self.plan or {}).get("processes", [])

    @property
    def others(self):
        """The rows of the processes that go on after the run: not those that run Ansible."""
        return [row for row in self.rows if not row["runs_ansible"]]

    @property
    def vulnerable(self):
        """The rows of processes that a rollout leaves vulnerable, or may; none where that is what was asked for."""
        if self.run_direction == ABSENT:
            return []
        patched = [about(row) for row in self.still_patched]
        return [
            row for row in self.others
            if outcome.MEANINGS[row["outcome"]].vulnerable and about(row) not in patched
        ]

    @property
    def still_patched(self):
        """The rows of processes that should have had the livepatch reverted and may have it still."""
        if self.direction != ABSENT:
            return []
        return [row for row in self.others if outcome.MEANINGS[row["outcome"]].may_remain]

    @property
    def status(self):
        """How the host fared, one of the words above."""
        if self.taken_back is not None:
            return REVERTED if self.taken_back["complete"] else REVERT_INCOMPLETE
        status = UNREACHABLE if self.left_out else self.readiness or UNREACHABLE
        if status != PLANNED:
            return status
        if self.stage is None:
            # Without a plan it dropped out of the run while it was looked at; a revert makes none.
            return UNTOUCHED if self.plan is not None or self.run_direction == ABSENT else UNREACHABLE
        if self.trouble:
            return FAILED
        if self.still_patched:
            return PARTLY
        outcomes = {row["outcome"] for row in self.others}
        if self.direction == ABSENT:
            return REVERTED if outcome.REVERTED in outcomes else UNCONCERNED
        if self.vulnerable:
            return PARTLY
        return PATCHED if any(outcome.MEANINGS[word].applied for word in outcomes) else UNCONCERNED

    @property
    def reason(self):
        """Why it was left out, or what went wrong; "" if nothing did."""
        return self.fact("held") or "; ".join(self.trouble)

    @property
    def gates(self):
        """How the host's health gates passed: dicts with name, before, after, reverted (True, False or None), said."""
        after = self.fact("gates_after") or []
        reverted = self.fact("gates_reverted") or []
        rows = []
        for index, gate in enumerate(self.fact("gates_before") or []):
            later = after[index] if index < len(after) else {}
            last = reverted[index] if index < len(reverted) else {}
            rows.append({
                "name": gate["name"], "before": gate["passed"], "after": later.get("passed"),
                "reverted": last.get("passed"), "said": later.get("said") or gate["said"],
            })
        return rows

    @property
    def sick_before(self):
        """The names of the health gates that had failed before the stage."""
        return [gate["name"] for gate in self.gates if not gate["before"]]

    def why(self, row):
        """Why the process of ``row`` is vulnerable, or still patched, one sentence."""
        now = row["outcome"]
        if now == outcome.REVERTED:
            return "the livepatch was reverted" if self.direction == ABSENT else "the patch was taken back"
        if now == outcome.NOT_REACHED:
            if self.stage is not None and self.planned:
                return "the host was lost: nobody knows whether it is patched"
            return "the rollout did not come to this host"
        if now == outcome.PENDING and not row["reason"]:
            return f"{row['threads_pending']} of {counted(row['threads'], 'thread')} may still be inside the library"
        return row["reason"]


def hosts_of(hostvars, names, direction):
    """The Host objects of hosts ``names``, by what ``hostvars``, a mapping of their facts, says of them."""
    return [Host(name, hostvars[name], direction) for name in names]
