# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says on the console before its first stage, and at the end of each."""

from __future__ import annotations

import os

from ..counted import counted
from ..printable import printable
from ..trigger import outcome
from . import report
from .host import ABSENT, UNREACHABLE
from .rows import names_of, reason_of

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
    """What would become of every process, and the numbers of all hosts at the end; a list of str.

    In a long plan, processes of a host that are alike share a line.

    :param hosts: list of host.Host, all that the run is for.
    """
    planned = [host for host in hosts if host.planned]
    together = sum(len(host.plan["processes"]) for host in planned) > _TABLE
    lines = [line for host in hosts for line in (_plan_of(host, together) if host.planned else [_left_out(host)])]
    if len(hosts) > 1:
        rows = [(host.name, row) for host in planned for row in host.plan["processes"]]
        left_out = len(hosts) - len(planned)
        lines.append(
            f"{counted(len(planned), 'host')}: {_numbers(rows, any(host.direction == ABSENT for host in planned))}"
            + (f"; {counted(left_out, 'host')} left out" if left_out else "")
        )
    return lines


def _left_out(host):
    why = [host.fact("held")] if host.fact("held") else []
    return printable(": ".join([f"{host.name}: {host.readiness or UNREACHABLE}, left out", *why, *host.trouble]))


def _plan_of(host, together):
    rows = host.plan["processes"]
    names = names_of([dict(its, name=os.path.basename(its["path"])) for its in host.plan.get("livepatches", ())])
    entries = [(row["pid"], row["name"], *_planned(row, names)) for row in sorted(rows, key=_group)]
    entries += [(its["pid"], its["name"], "restart with", its["command"]) for its in host.restarts]
    return [
        f"{host.name}: {_numbers([(host.name, row) for row in rows], host.direction == ABSENT)}",
        *(printable(_LINE % entry).strip() for entry in (_alike(entries) if together else entries)),
    ]


def _group(row):
    """Which rows stand together: last what can't be patched, before the commands that would restart it."""
    if row["runs_ansible"]:
        return 2
    return 3 if outcome.MEANINGS[row["outcome"]].restart else int(row["attached_now"])


def _numbers(rows, reverts):
    """What would become of processes but for what runs Ansible, in numbers.

    :param rows: pairs of a host's name and a row.
    """
    rows = [(host, row) for host, row in rows if not row["runs_ansible"]]
    words = outcome.by_process(((host, row["pid"]), row["outcome"]) for host, row in rows)
    meanings = [outcome.MEANINGS[word] for word in words.values()]
    patch = sum(meaning.achieved and meaning.applied for meaning in meanings)
    revert = sum(meaning.achieved and not meaning.applied for meaning in meanings)
    stuck = sum(meaning.restart for meaning in meanings)
    attach = sum(row["attached_now"] for _host, row in rows)
    will = f" ({attach} will be attached to)" if attach else ""
    return ", ".join([
        f"{patch} to patch{will}", *([f"{revert} to revert"] if reverts else []), f"{stuck} that can't be patched",
        f"{len(meanings) - patch - revert - stuck} to leave as they are",
    ])


def _alike(entries):
    """``entries``, of which those that differ by their PID only are one, with their number in its place."""
    groups: dict[tuple, list[tuple]] = {}
    for entry in entries:
        pid, name, what, why = entry
        groups.setdefault((name, what, why.replace(f"process {pid} ({name})", "the process")), []).append(entry)
    return [its[0] if len(its) == 1 else (f"{len(its)} times", *rest) for rest, its in groups.items()]


def _planned(row, names):
    """What would become of the process, and why; ``names`` as for reason_of()."""
    if row["runs_ansible"]:
        return "runs Ansible", "ends with the run"
    if row["attached_now"]:
        return "will be attached to", reason_of(row, names)
    meaning = outcome.MEANINGS[row["outcome"]]
    return f"would be {meaning.words}" if meaning.achieved else row["outcome"], reason_of(row, names)


def stage(document, check=False):
    """How the last stage ended: a table of its processes, and a line; a list of str.

    In a long table those that are well do not show.

    :param document: the report.
    :param check: nothing was done; the report has what would be.
    """
    names = set(document["stages"][-1]["hosts"])
    rows = [(host["name"], row) for host in document["hosts"] if host["name"] in names for row in host["processes"]]
    shown = [its for its in rows if len(rows) <= _TABLE or _is_conspicuous(its[1], document["direction"])]
    livepatches = names_of(document["livepatches"])
    lines = [printable(_ROW % _HEADINGS).strip()] if shown else []
    lines += [_row(name, row, reason_of(row, livepatches), check) for name, row in shown[:_TABLE]]
    hidden = len(rows) - len(shown[:_TABLE])
    if hidden:
        lines.append(f"{counted(hidden, 'process', 'es')} more, which the report names")
    elif not rows:
        which = "these livepatches are" if livepatches else "this livepatch is"
        lines.append(f"no process on these hosts runs a library that {which} for")
    return [*lines, _stage(document, check)]


def _is_conspicuous(row, direction):
    if row["runs_ansible"]:
        return False
    if direction == ABSENT:
        return outcome.MEANINGS[row["outcome"]].may_remain
    return outcome.MEANINGS[row["outcome"]].colour != outcome.GOOD


def _row(host, row, reason, check):
    meaning = outcome.MEANINGS[row["outcome"]]
    passing = row["runs_ansible"] and meaning.restart
    what = "runs Ansible" if passing else row["outcome"] + (", attached" if row["attached_now"] else "")
    if check and meaning.achieved:
        what = f"would be {meaning.words}"
    held = "-" if row["held_us"] is None else f"{row['held_us']:.0f} us"
    why = "ends with the run" if passing else reason
    return printable(_ROW % (
        host, row["pid"], row["name"], what, row["threads"], row["threads_pending"], held, why,
    )).strip()


def _stage(document, check):
    its = document["stages"][-1]
    numbers = its["processes"]
    named = ", ".join(its["hosts"][:_NAMED]) + (", ..." if len(its["hosts"]) > _NAMED else "")
    if document["direction"] == ABSENT:
        would = "would be " if check else ""
        done = [f"{counted(numbers.get(outcome.REVERTED, 0), 'process', 'es')} {would}reverted"]
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
    if check and not its["harm"]:
        verdict = report.UNCHANGED
    hosts = counted(len(its["hosts"]), "host")
    return printable(f"stage {its['number']}: {hosts} ({named}), {', '.join(done)}: {verdict}")
