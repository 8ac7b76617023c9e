# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: the document that ``report.json`` holds and the page is drawn from.

``docs/report.schema.json`` describes it.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime, timezone

from ..counted import counted
from ..livepatch_files import EXTENSION
from ..trigger import outcome
from .actions import actions
from .host import ABSENT, REVERT_INCOMPLETE, STATUSES, UNREACHABLE, UNTOUCHED

# Of the document; it goes up when a field is renamed, removed or means something else.
FORMAT = 3

# How a run stands, and a stage.
RUNNING = "running"
REFUSED = "refused"
STOPPED = "stopped"
INCOMPLETE = "incomplete"
LEFT_VULNERABLE = "left_vulnerable"
LEFT_PATCHED = "left_patched"
SUCCEEDED = "succeeded"
PASSED = "passed"
TAKEN_BACK = "taken_back"
# What is said of a run and a stage in check mode.
UNCHANGED = "nothing was changed"


def report(hosts, run, livepatches, direction, state=None, now=None):
    """The report of a run.

    :param hosts: list of host.Host, all that it is for.
    :param run: mapping with the facts of the whole run: ``__ulp_livepatch_run``, ``_stages`` and ``_stop``.
    :param livepatches: list of dicts with file (path on the controller) and name, as faults.on_hosts() gives them.
    :param direction: ``present`` or ``absent``.
    :param state: RUNNING, REFUSED or STOPPED; None: the run is over, and how it ended follows from the rest.
    :param now: datetime.datetime, UTC.
    :return: dict.
    """
    stop = run["__ulp_livepatch_stop"]
    document = {
        "format": FORMAT,
        "livepatches": _livepatches(hosts, livepatches),
        "direction": direction,
        "run": run["__ulp_livepatch_run"],
        "written": (now or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "state": state or ended(hosts, stop),
        "message": stop,
        "actions": actions(hosts, state == RUNNING),
        "stages": [_stage(stage, hosts) for stage in run["__ulp_livepatch_stages"]],
        "hosts": [_host(host) for host in hosts],
        "still_vulnerable": [_left(host, row) for host in hosts for row in host.vulnerable],
        "still_patched": [_left(host, row) for host in hosts for row in host.still_patched],
        "totals": {
            "hosts": len(hosts),
            "statuses": dict(Counter(host.status for host in hosts)),
            "processes": _count(hosts),
            "attached": sum(row["attached_now"] for host in hosts for row in host.others),
        },
    }
    document["summary"] = summary(document)
    return document


def ended(hosts, stop):
    """How a run that is over has ended: STOPPED, INCOMPLETE, LEFT_VULNERABLE, LEFT_PATCHED or SUCCEEDED."""
    if stop:
        return STOPPED
    if any(host.status in (UNREACHABLE, UNTOUCHED, REVERT_INCOMPLETE) for host in hosts):
        return INCOMPLETE
    return left(hosts) or SUCCEEDED


def left(hosts):
    """What is left on hosts, LEFT_PATCHED or LEFT_VULNERABLE; None: nothing is.

    On a host that nobody looked at there may be what the run is about.
    """
    if any(host.still_patched for host in hosts):
        return LEFT_PATCHED
    unseen = [host for host in hosts if STATUSES[host.status].unseen]
    if any(host.run_direction == ABSENT for host in unseen):
        return LEFT_PATCHED
    if unseen or any(host.vulnerable for host in hosts):
        return LEFT_VULNERABLE
    return None


def _livepatches(hosts, livepatches):
    """``livepatches`` with what the first host that knows them says of each."""
    told: dict = {}
    for host in hosts:
        for answer in (host.plan, host.result):
            for its in (answer or {}).get("livepatches", ()):
                told.setdefault(os.path.basename(its["path"]), its)
    found = []
    for livepatch in livepatches:
        its = told.get(livepatch["name"] + EXTENSION, {})
        found.append({
            "file": os.path.basename(livepatch["file"]), "name": livepatch["name"],
            "patch_id": its.get("patch_id", ""), "labels": its.get("labels", {}),
        })
    return found


def _count(hosts):
    """{outcome: number of processes}; of one that several livepatches are for the worst counts."""
    words = outcome.by_process(((host.name, row["pid"]), row["outcome"]) for host in hosts for row in host.others)
    return dict(Counter(words.values()))


def _stage(stage, hosts):
    its = [host for host in hosts if host.name in stage["hosts"]]
    if stage["harm"]:
        state = STOPPED
    elif its and all(host.taken_back is not None for host in its if host.planned):
        state = TAKEN_BACK if any(host.planned for host in its) else PASSED
    else:
        state = left(its) or PASSED
    attached = sum(row["attached_now"] for host in its for row in host.others)
    return dict(stage, state=state, processes=_count(its), attached=attached)


def _host(host):
    return {
        "name": host.name,
        "stage": host.stage,
        "status": host.status,
        "reason": host.reason,
        "sick_before": host.sick_before,
        "left": (host.taken_back or {}).get("left", []),
        "restarted": host.fact("restarted") or [],
        "gates": host.gates,
        "processes": host.rows,
    }


def _left(host, row):
    return {
        "host": host.name, "pid": row["pid"], "name": row["name"], "outcome": row["outcome"],
        "restart": row["restart"], "reason": host.why(row), "patch_id": row["patch_id"],
    }


def summary(document, check=False):
    """What came about and what is left, in numbers, one line of text that begins with the state.

    :param check: nothing was done; the report has what would be.
    """
    totals = document["totals"]
    reverts = document["direction"] == ABSENT
    if reverts:
        would = "would be " if check else ""
        done = f"{counted(totals['processes'].get(outcome.REVERTED, 0), 'process', 'es')} {would}reverted"
    else:
        applied = sum(
            number for word, number in totals["processes"].items() if outcome.MEANINGS[word].applied
        )
        attached = f" ({totals['attached']} attached to)" if totals["attached"] else ""
        done = f"{counted(applied, 'process', 'es')} patched{attached}"
    left_over = [
        counted(len({(row["host"], row["pid"]) for row in rows}), kind + " process", "es") + " on "
        + counted(len({row["host"] for row in rows}), "host")
        for kind, rows in (
            ("vulnerable", document["still_vulnerable"]), ("still patched", document["still_patched"]),
        ) if rows
    ]
    left_over += [
        f"{counted(totals['statuses'][status], 'host')} {its.left}"
        for status, its in STATUSES.items() if its.left and status in totals["statuses"]
    ]
    state = UNCHANGED if check else document["state"]
    return f"{state}: {done}, left: {', '.join(left_over) or 'nothing'}"
