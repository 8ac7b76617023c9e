# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says on the console before its first stage, and at the end of each."""

from __future__ import annotations

from ..counted import counted
from ..printable import printable
from ..trigger import outcome
from . import report
from .host import ABSENT, UNREACHABLE

_LINE = "%-8s %-16s %-22s %s"
_ROW = "%-16s %-8s %-16s %-18s %7s %7s %9s  %s"
_HEADINGS = ("HOST", "PID", "NAME", "OUTCOME", "THREADS", "PENDING", "HELD", "REASON")
# A longer table nobody reads.
_TABLE = 40
# So many hosts of a stage are named.
_NAMED = 5
_VERDICTS = {
    report.PASSED: "passed",
    report.LEFT_VULNERABLE: "passed, with vulnerable processes left",
    report.LEFT_PATCHED: "passed, with processes that are still patched",
}


def plan(hosts):
    """What would become of every process, a list of str.

    :param hosts: list of host.Host, all that the run is for.
    """
    return [line for host in hosts for line in (_plan_of(host) if host.planned else [_left_out(host)])]


def _left_out(host):
    why = [host.fact("held")] if host.fact("held") else []
    return printable(": ".join([f"{host.name}: {host.readiness or UNREACHABLE}, left out", *why, *host.trouble]))


def _plan_of(host):
    planned = host.plan["processes"]
    rows = [row for row in planned if not row["runs_ansible"]]
    meanings = [outcome.MEANINGS[row["outcome"]] for row in rows]
    patch = sum(meaning.achieved and meaning.applied for meaning in meanings)
    revert = sum(meaning.achieved and not meaning.applied for meaning in meanings)
    stuck = sum(meaning.restart for meaning in meanings)
    attach = sum(row["attached_now"] for row in rows)
    will = f" ({attach} will be attached to)" if attach else ""
    numbers = [f"{patch} to patch{will}", *([f"{revert} to revert"] if host.direction == ABSENT else []),
               f"{stuck} that can't be patched", f"{len(rows) - patch - revert - stuck} to leave as they are"]
    lines = [f"{host.name}: {', '.join(numbers)}"]
    # What will be attached to stands apart, behind the others.
    for row in sorted(rows, key=lambda its: its["attached_now"]):
        lines.append(_line(row, _planned(row), row["reason"]))
    lines += [_line(row, "runs Ansible", "ends with the run") for row in planned if row["runs_ansible"]]
    return lines + [_line(its, "restart with", its["command"]) for its in host.restarts]


def _planned(row):
    if row["attached_now"]:
        return "will be attached to"
    meaning = outcome.MEANINGS[row["outcome"]]
    return f"would be {meaning.words}" if meaning.achieved else row["outcome"]


def _line(row, what, why):
    return printable(_LINE % (row["pid"], row["name"], what, why)).strip()


def stage(document):
    """How the last stage ended: a table of its processes, and a line; a list of str.

    In a long table those that are well do not show.

    :param document: the report.
    """
    names = set(document["stages"][-1]["hosts"])
    rows = [(host["name"], row) for host in document["hosts"] if host["name"] in names for row in host["processes"]]
    shown = [its for its in rows if len(rows) <= _TABLE or _is_conspicuous(its[1], document["direction"])]
    lines = [printable(_ROW % _HEADINGS).strip()] if shown else []
    lines += [_row(name, row) for name, row in shown[:_TABLE]]
    hidden = len(rows) - len(shown[:_TABLE])
    if hidden:
        lines.append(f"{counted(hidden, 'process', 'es')} more, which the report names")
    elif not rows:
        lines.append("no process on these hosts runs a library that this livepatch is for")
    return [*lines, _stage(document)]


def _is_conspicuous(row, direction):
    if row["runs_ansible"]:
        return False
    if direction == ABSENT:
        return outcome.MEANINGS[row["outcome"]].may_remain
    return outcome.MEANINGS[row["outcome"]].colour != outcome.GOOD


def _row(host, row):
    passing = row["runs_ansible"] and outcome.MEANINGS[row["outcome"]].restart
    what = "runs Ansible" if passing else row["outcome"] + (", attached" if row["attached_now"] else "")
    held = "-" if row["held_us"] is None else f"{row['held_us']:.0f} us"
    why = "ends with the run" if passing else row["reason"]
    return printable(_ROW % (
        host, row["pid"], row["name"], what, row["threads"], row["threads_pending"], held, why,
    )).strip()


def _stage(document):
    its = document["stages"][-1]
    numbers = its["processes"]
    named = ", ".join(its["hosts"][:_NAMED]) + (", ..." if len(its["hosts"]) > _NAMED else "")
    if document["direction"] == ABSENT:
        done = [f"{counted(numbers.get(outcome.REVERTED, 0), 'process', 'es')} reverted"]
    else:
        pending = numbers.get(outcome.PENDING, 0)
        patched = counted(numbers.get(outcome.PATCHED, 0) + pending, "process", "es")
        attached = f" ({its['attached']} attached to)" if its["attached"] else ""
        done = [
            f"{patched} patched{attached}", f"{pending} of them with threads still inside",
            f"{numbers.get(outcome.ALREADY_PATCHED, 0)} patched before",
            f"{numbers.get(outcome.NOT_PATCHABLE, 0)} that can't be patched",
        ]
    verdict = _VERDICTS.get(its["state"]) or f"stopped, {'; '.join(its['harm'])}"
    hosts = counted(len(its["hosts"]), "host")
    return printable(f"stage {its['number']}: {hosts} ({named}), {', '.join(done)}: {verdict}")
