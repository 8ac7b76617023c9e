# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page of a report shows, in the order in which it is read; the template only draws it."""

from __future__ import annotations

import re
from collections import Counter

from ..counted import counted
from ..printable import printable, some
from ..trigger import outcome
from ..trigger.outcome import BAD, GOOD, WAIT
from . import actions, host, report
from .rows import about, names_of, reason_of

_STATES = {
    report.RUNNING: (WAIT, "under way"),
    report.REFUSED: (WAIT, "not begun"),
    report.STOPPED: (BAD, "stopped"),
    report.INCOMPLETE: (BAD, "incomplete"),
    report.LEFT_VULNERABLE: (WAIT, "left vulnerable processes"),
    report.LEFT_PATCHED: (WAIT, "left processes patched"),
    report.SUCCEEDED: (GOOD, "succeeded"),
    report.PASSED: (GOOD, "passed"),
    report.TAKEN_BACK: (WAIT, "taken back"),
}
_ORDER = list(host.STATUSES)
_COLOURS = {
    actions.REACH: BAD, actions.ASK: BAD, actions.LOST: BAD, actions.REVERT_AGAIN: BAD, actions.EXAMINE: BAD,
    actions.TAKEN_BACK: BAD,
}
# A table or a list that is longer is folded, whatever it says: it would push away what comes after it.
_OPEN = 100
# So many names of hosts show of an action that is folded.
_FIRST_HOSTS = 3
# So many livepatches the title names.
_TITLES = 3
_DIGITS = re.compile(r"(\d+)")


def page(document):
    """What the page shows: a dict, which has no character that could change how others are displayed.

    Its size is linear in that of the document.

    :param document: the report.
    """
    document = _legible(document)
    reverts = document["direction"] == host.ABSENT
    left = {(row["host"], *about(row)) for row in document["still_vulnerable"] + document["still_patched"]}
    to_do = [_action(action) for action in document["actions"]]
    needy, well = _hosts(document, reverts)
    groups = _groups(document, left, reverts)
    colour, state = _STATES[document["state"]]
    return {
        "title": f"{some([its['name'] for its in document['livepatches']], _TITLES)}: {state}",
        "reverts": reverts,
        "files": some([its["file"] for its in document["livepatches"]], _TITLES),
        "livepatches": document["livepatches"],
        "run": document["run"],
        "written": document["written"],
        "colour": colour,
        "state": state,
        # It is not known before the end; what it begins with stands above it.
        "summary": (
            "" if document["state"] in (report.RUNNING, report.REFUSED) else document["summary"].partition(": ")[2]
        ),
        "message": document["message"],
        "tiles": _tiles(document, reverts),
        "actions": to_do,
        "needy": needy,
        "well": well,
        "groups": groups,
        "choices": sorted(
            {its["status"] for its in needy + well} | {row["words"] for its in groups for row in its["rows"]}),
        "stages": _stages(document, reverts),
    }


def _legible(value):
    """``value``, in which no string has a character that is not printable, but for the ends of lines."""
    if isinstance(value, str):
        return "\n".join(printable(line) for line in value.split("\n"))
    if isinstance(value, dict):
        return {key: _legible(its) for key, its in value.items()}
    if isinstance(value, (list, tuple)):
        return [_legible(its) for its in value]
    return value


def natural(name):
    """A key that sorts web2 before web10."""
    # Digits stand at odd places, so that they are compared with digits only. Python refuses to read very long numbers.
    return [_number(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(name))]


def _number(digits):
    significant = digits.lstrip("0")
    return len(significant), significant


def _action(action):
    hosts = sorted(action["hosts"], key=lambda its: natural(its["name"]))
    processes = sum(len(its["processes"]) for its in hosts)
    more = len(hosts) - _FIRST_HOSTS
    return dict(
        action,
        # Where all hosts show, each has its own beside it.
        reasons=action["reasons"] if processes or more > 0 else [],
        hosts=[dict(its, processes=_processes_of(its, action)) for its in hosts],
        colour=_COLOURS.get(action["kind"], WAIT),
        extent=(counted(processes, "process", "es") + " on " if processes else "") + counted(len(hosts), "host"),
        first=", ".join(its["name"] for its in hosts[:_FIRST_HOSTS]) + (f" and {more} more" if more > 0 else ""),
        names=",".join(its["name"] for its in hosts),
        folded=more > 0,
    )


def _processes_of(its, action):
    """What is said of the processes of a host in an action: dicts with words and restart."""
    return [
        {
            "words": f"{row['name']} ({row['pid']})",
            # Where one command does it for all, it stands above.
            "restart": "" if action["command"] else row["restart"],
        }
        for row in its["processes"]
    ]


def _longest_hold(rows):
    held = [row["held_us"] for row in rows if row["held_us"] is not None]
    return max(held) if held else None


def _microseconds(value):
    return "" if value is None else f"{value:.0f} µs"


def _tiles(document, reverts):
    """The numbers at the top: dicts with number, words and colour."""
    totals = document["totals"]
    hosts = document["hosts"]
    reached = sum(its["stage"] is not None for its in hosts)
    tiles: list[dict] = [{"number": f"{reached} / {totals['hosts']}", "words": "hosts dealt with", "colour": ""}]
    for key, words in (("still_vulnerable", "still vulnerable"), ("still_patched", "still patched")):
        number = len({(row["host"], row["pid"]) for row in document[key]})
        if number or reverts == (key == "still_patched"):
            tiles.append({"number": number, "words": words, "colour": BAD if number else GOOD})
    others = totals["processes"]
    own = sum(row["runs_ansible"] for its in hosts for row in its["processes"])
    tiles += [
        {"number": others[word], "words": meaning.words, "colour": _row_colour(word, reverts)}
        for word, meaning in outcome.MEANINGS.items() if others.get(word)
    ]
    if totals["attached"]:
        tiles.append({"number": totals["attached"], "words": "attached to", "colour": ""})
    if own:
        tiles.append({"number": own, "words": "run Ansible", "colour": ""})
    held = _longest_hold([row for its in hosts for row in its["processes"]])
    if held is not None:
        tiles.append({"number": _microseconds(held), "words": "longest hold of a thread", "colour": ""})
    return tiles


def _row_colour(word, reverts):
    if reverts and word == outcome.REVERTED:
        return GOOD
    if reverts and outcome.MEANINGS[word].restart:
        return ""
    return outcome.MEANINGS[word].colour


def _hosts(document, reverts):
    """The hosts that need something, the worst first, and those where all is well: two lists of dicts."""
    to_do = {}
    for action in document["actions"]:
        for its in action["hosts"]:
            to_do.setdefault(its["name"], []).append(action["words"])
    rows = [_host(its, to_do.get(its["name"], []), reverts) for its in document["hosts"]]
    rows.sort(key=lambda its: (its["order"], natural(its["name"])))
    return [its for its in rows if its["to_do"]], [its for its in rows if not its["to_do"]]


def _host(its, to_do, reverts):
    status = its["status"]
    numbers = Counter(outcome.by_process(
        (row["pid"], row["outcome"]) for row in its["processes"] if not row["runs_ansible"]).values())
    remarks = [its["reason"]] if its["reason"] else []
    remarks += its["left"]
    if its["restarted"]:
        remarks.append("restarted: " + ", ".join(its["restarted"]))
    return {
        "name": its["name"],
        "order": _ORDER.index(status),
        "stage": "" if its["stage"] is None else its["stage"],
        "status": _status(status, reverts),
        "colour": GOOD if reverts and status == host.REVERTED else host.STATUSES[status].colour,
        "to_do": to_do,
        "processes": ", ".join(
            f"{numbers[word]} {meaning.words}" for word, meaning in outcome.MEANINGS.items() if numbers[word]),
        "held": _microseconds(_longest_hold(its["processes"])),
        "gates": [_gate(gate) for gate in its["gates"]],
        "remarks": remarks,
    }


def _status(status, reverts):
    if status == host.PARTLY:
        return "partly reverted" if reverts else "partly patched"
    return status.replace("_", " ")


def _gate(gate):
    """A health gate: dict with name, colour, words and said."""
    shown = {"name": gate["name"], "colour": "", "words": "not measured", "said": ""}
    if not gate["before"]:
        shown.update(colour=WAIT, words="sick before", said=gate["said"])
    elif gate["after"]:
        shown.update(colour=GOOD, words="well")
    elif gate["after"] is not None:
        shown.update(colour=BAD, words="failed", said=gate["said"])
        if gate["reverted"] is not None:
            shown["words"] += ", after the revert " + ("well" if gate["reverted"] else "failed")
    return shown


def _groups(document, left, reverts):
    """The processes, in groups that stand apart: dicts with title, note, colour, open and rows."""
    restart, other, attached, rest, own = [], [], [], [], []
    names = names_of(document["livepatches"])
    hosts = sorted(document["hosts"], key=lambda its: (_ORDER.index(its["status"]), natural(its["name"])))
    for its in hosts:
        for row in its["processes"]:
            if row["runs_ansible"]:
                group = own
            elif (its["name"], *about(row)) in left:
                group = restart if outcome.MEANINGS[row["outcome"]].restart else other
            else:
                group = attached if row["attached"] else rest
            group.append(_row(its["name"], row, reverts, names))
    done = "reverted" if reverts else "patched"
    groups = (
        ("Need a restart", "They run the vulnerable library, and can't be patched.", restart, True),
        ("Need something else", f"They are not {done}, or not on every thread, or nobody knows.", other, True),
        ("Were attached to", "They were given the runtime while they ran, and keep it until they end or execute another"
         " program. They need nothing.", attached, False),
        ("Need nothing", "They had the runtime from the start, or the livepatch is not for them.", rest, False),
        ("Run Ansible", "They end with the run, and do not count as left.", own, False),
    )
    return [
        {"title": title, "note": note, "rows": rows, "needy": needy, "open": needy and len(rows) <= _OPEN}
        for title, note, rows, needy in groups if rows
    ]


def _row(name, row, reverts, livepatches):
    return {
        "host": name,
        "pid": row["pid"],
        "name": row["name"],
        "container": row["container"],
        "words": outcome.MEANINGS[row["outcome"]].words,
        "colour": _row_colour(row["outcome"], reverts),
        "threads": row["threads"],
        "inside": row["threads_pending"],
        "held": _microseconds(row["held_us"]),
        "reason": reason_of(row, livepatches),
        "restart": row["restart"],
        # What is no unit is restarted by somebody who thinks.
        "is_command": row["unit"] != "",
    }


def _stages(document, reverts):
    """The stages: dicts, each with how many hosts the run had come to at its end."""
    stages = []
    so_far = 0
    for stage in document["stages"]:
        names = stage["hosts"]
        so_far += len(names)
        colour, words = _STATES[stage["state"]]
        numbers = stage["processes"]
        done = sum(
            number for word, number in numbers.items()
            if (word == outcome.REVERTED if reverts else outcome.MEANINGS[word].loaded)
        )
        stages.append({
            "number": stage["number"], "hosts": ", ".join(names) if len(names) <= _FIRST_HOSTS else len(names),
            "began": stage["began"], "ended": stage["ended"][11:], "so_far": so_far, "all": document["totals"]["hosts"],
            "done": done, "colour": colour, "words": words,
            "harm": stage["harm"],
        })
    return stages
