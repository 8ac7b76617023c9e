# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves to do, grouped by action: one restart of a unit on 37 hosts is one action.

Every host that was not dealt with, and every process that is left vulnerable or patched, is in one of them.
"""

from __future__ import annotations

import re

from ..printable import some
from ..trigger import outcome
from .host import ABSENT, ERROR, FAILED, HELD, REVERT_INCOMPLETE, UNREACHABLE, UNTOUCHED

# What to do, the most urgent first.
REACH = "reach"
ASK = "ask"
LOST = "lost"
REVERT_AGAIN = "revert_again"
EXAMINE = "examine"
REMOVE_PROBE = "remove_probe"
TAKEN_BACK = "taken_back"
REPLACE_RETRACTED = "replace_retracted"
RESTART_UNIT = "restart_unit"
RESTART_CONTAINER = "restart_container"
RESTART_PROCESS = "restart_process"
LATER = "later"
RUN_AGAIN = "run_again"
RELEASE = "release"
DECIDE = "decide"
SICK = "sick"
WAIT = "wait"
KINDS = (
    REACH, ASK, LOST, REVERT_AGAIN, EXAMINE, REMOVE_PROBE, TAKEN_BACK, REPLACE_RETRACTED, RESTART_UNIT,
    RESTART_CONTAINER, RESTART_PROCESS, LATER, RUN_AGAIN, RELEASE, DECIDE, SICK, WAIT,
)

_WORDS = {
    REACH: "Get to the hosts that could not be reached, then run again",
    ASK: "Find out why these hosts could not be asked, then run again",
    LOST: "Look at the hosts where the run failed, then run again",
    REVERT_AGAIN: "Revert again: something of the livepatch is left",
    EXAMINE: "Look at {names}: {done} failed",
    REMOVE_PROBE: "Take the probe or the debugger off {names}, then run again",
    TAKEN_BACK: "Find out what went wrong, then run again: {names} had the patch taken back",
    REPLACE_RETRACTED: "Find another remedy for {names}: the livepatch is retracted",
    RESTART_UNIT: "Restart {unit}",
    RESTART_CONTAINER: "Restart the containers that run {names}",
    RESTART_PROCESS: "End {names}, and start it again the way it was started",
    LATER: "Run again later for {names}",
    RUN_AGAIN: "Run again: the run did not come to these hosts",
    RELEASE: "Take these hosts off hold when they may be patched, and run again",
    DECIDE: "Decide about {names}, left alone as you asked",
    SICK: "Look at the hosts that were sick before their stage",
    WAIT: "Wait: the stage of these hosts is still to come",
}
_HOST_KINDS = {
    UNREACHABLE: REACH, ERROR: ASK, FAILED: LOST, REVERT_INCOMPLETE: REVERT_AGAIN, HELD: RELEASE, UNTOUCHED: RUN_AGAIN,
}
_PROCESS_KINDS = {
    outcome.PENDING: LATER, outcome.EXCLUDED: DECIDE, outcome.FAILED: EXAMINE, outcome.NOT_REACHED: RUN_AGAIN,
}
# Processes that are alike in what they are, not in why; the others are grouped by the reason.
_BY_NAME = (RESTART_CONTAINER, RESTART_PROCESS, LATER, TAKEN_BACK, REPLACE_RETRACTED)
_NUMBER = re.compile(r"\b0x[0-9a-f]+\b|\d+")
# How many reasons of one action to give; in the report each process has its own.
_REASONS = 3
_NAMES = 3


def actions(hosts, under_way=False):
    """What is left to do: a list of dicts, the most urgent first, then what concerns most hosts.

    :param hosts: list of host.Host.
    :param under_way: whether the stages that have not come are still to come.
    :return: dicts with kind (one of KINDS), words, command (what to run on each host, or ""), reasons (list of str) and
        hosts: dicts with name, reason and processes (dicts with pid, name and restart).
    """
    groups: dict = {}
    for host in hosts:
        of_host = _on_host(host, under_way)
        if of_host:
            _group(groups, of_host, "", host).add_host(host, _host_reason(host, of_host))
        if host.sick_before:
            _group(groups, SICK, "", host).add_host(host, "health gate failed before: " + ", ".join(host.sick_before))
        for row in host.vulnerable + host.still_patched:
            # The host's action is theirs, too.
            if row["outcome"] == outcome.NOT_REACHED and of_host:
                continue
            kind = _on_process(host, row)
            reason = _in_general(host, row)
            subject = row["unit"] if kind == RESTART_UNIT else row["name"] if kind in _BY_NAME else _alike(reason)
            _group(groups, kind, subject, host).add_process(host, row, reason)
    return [group.as_dict() for group in sorted(groups.values(), key=_Group.rank)]


def _on_host(host, under_way):
    kind = _HOST_KINDS.get(host.status)
    return WAIT if kind == RUN_AGAIN and under_way else kind


def _host_reason(host, kind):
    return "; ".join((host.taken_back or {}).get("left", [])) if kind == REVERT_AGAIN else host.reason


def _on_process(host, row):
    now = row["outcome"]
    if any(words in row["reason"] for words in (outcome.BREAKPOINT_SET, outcome.BREAKPOINTS_SET)):
        return REMOVE_PROBE
    if outcome.MEANINGS[now].restart:
        return RESTART_UNIT if row["unit"] else RESTART_CONTAINER if row["container"] else RESTART_PROCESS
    if now == outcome.REVERTED:
        return REPLACE_RETRACTED if host.direction == ABSENT else TAKEN_BACK
    # What else is left should have been reverted, and is patched.
    return _PROCESS_KINDS.get(now, REVERT_AGAIN)


def _in_general(host, row):
    """Why, without what is this process's own."""
    if row["outcome"] == outcome.PENDING and not row["reason"]:
        return "threads may still be inside the library"
    return host.why(row).replace(f"process {row['pid']} ({row['name']})", "the process")


def _alike(reason):
    return _NUMBER.sub("#", reason)


def _group(groups, kind, subject, host):
    return groups.setdefault((kind, subject), _Group(kind, subject, host.direction))


class _Group:
    """One action, as it is found on host after host."""

    def __init__(self, kind, subject, direction):
        self._kind = kind
        self._subject = subject
        self._done = "reverting" if direction == ABSENT else "patching"
        self._hosts = {}
        self._names = {}
        self._reasons = {}
        self._command = ""

    def add_host(self, host, reason):
        self._of(host)["reason"] = reason
        if reason:
            self._reasons.setdefault(_alike(reason), reason)

    def add_process(self, host, row, reason):
        processes = self._of(host)["processes"]
        # Of one process, what several livepatches have to say comes together.
        if not processes or processes[-1]["pid"] != row["pid"]:
            processes.append({"pid": row["pid"], "name": row["name"], "restart": row["restart"]})
        self._names[row["name"]] = None
        self._reasons.setdefault(_alike(reason), reason)
        if self._kind == RESTART_UNIT:
            self._command = row["restart"]

    def _of(self, host):
        return self._hosts.setdefault(host.name, {"name": host.name, "reason": "", "processes": []})

    def rank(self):
        return KINDS.index(self._kind), -len(self._hosts), self._subject

    def as_dict(self):
        reasons = list(self._reasons.values())
        more = len(reasons) - _REASONS
        return {
            "kind": self._kind,
            "words": _WORDS[self._kind].format(
                names=some(list(self._names), _NAMES), unit=self._subject, done=self._done),
            "command": self._command,
            "reasons": reasons[:_REASONS] + ([f"and {more} other reasons"] if more > 0 else []),
            "hosts": list(self._hosts.values()),
        }
