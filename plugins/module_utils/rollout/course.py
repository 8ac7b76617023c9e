# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a run takes: how a host stands once it was asked, and which task files a stage goes through.

A file is named only where somebody has a use for it, as Ansible prints a line for everything that it skips. All hosts
of a stage go through the same ones, in the same order, and each leaves out what is not for it.
"""

from __future__ import annotations

import os

from ..named_tuple import NamedTuple
from ..printable import some
from .faults import failure
from .host import ABSENT, ERROR, HELD, PLANNED, UNREACHABLE
from .judgement import harm, refusal
from .rows import rows_that

BY_NUMBER = (
    "ulp_livepatch_restart does not go with ulp_livepatch_pids, as a unit that was restarted has other process IDs:"
    " choose processes by ulp_livepatch_processes"
)

RETRACTED_IN_PART = (
    "of several livepatches, {} is retracted here, and ulp_livepatch_revert_retracted says to revert what is: revert"
    " that by itself, then run again without it"
)


def readiness(answer, held, faults_of_gates, restarts_by_number, reverts_retracted=False):
    """How a host stands once it was asked: a dict with status and trouble, a list of str.

    :param answer: what a dispatch in check mode returned.
    :param held: why it is on hold, or "".
    :param faults_of_gates: what is wrong with its health gates, list of str.
    :param restarts_by_number: whether units are to be restarted, and processes were chosen by PID.
    :param reverts_retracted: whether the livepatch is to be reverted where it is retracted.
    """
    if held:
        return {"status": HELD, "trouble": []}
    if answer.get("unreachable"):
        return {"status": UNREACHABLE, "trouble": [answer["msg"]]}
    faults = list(faults_of_gates)
    if answer.get("processes") is None:
        faults.append(failure(answer))
    elif restarts_by_number and rows_that(answer["processes"], "need_restart"):
        faults.append(BY_NUMBER)
    given = answer.get("livepatches", ())
    retracted = [os.path.basename(its["path"]) for its in given if its["retracted"]]
    if reverts_retracted and 0 < len(retracted) < len(given):
        faults.append(RETRACTED_IN_PART.format(some(retracted)))
    return {"status": ERROR, "trouble": faults} if faults else {"status": PLANNED, "trouble": []}


# What hosts want, by their variables.
_ASKED_FOR = ("gates", "soak", "persist", "revert_earlier")


class _Wants(NamedTuple):
    """What any host of the run wants of a stage: _ASKED_FOR, and what the plan says."""

    gates: bool
    soak: bool
    persist: bool
    revert_earlier: bool
    restart: bool
    retract: bool


def course(hosts, in_order, direction):
    """What the run does, once all hosts were asked.

    :param hosts: list of host.Host, all that it is for.
    :param in_order: names of all hosts of the inventory, in its order.
    :param direction: the run's, ``present`` or ``absent``.
    :return: dict with stop (why it may not begin, sentences on lines of their own, or ""), order (the names of the
        hosts of all stages), canaries (how many of them come first, in a stage of their own), steps (the files that a
        stage begins with), measures (those of them that are gone through again while it is watched) and later (what
        _Wants says, for rest_of_stage()).
    """
    planned = {host.name: host for host in hosts if host.planned}
    order = [planned[name] for name in in_order if name in planned]
    order.sort(key=lambda host: not host.fact("canary"))
    asked_for = {what: any((host.fact("wants") or {}).get(what) for host in order) for what in _ASKED_FOR}
    wants = _Wants(
        restart=any(host.fact("consent") is True and host.restarts for host in order),
        retract=any(host.direction == ABSENT for host in order), **asked_for,
    )
    reverts = direction == ABSENT
    measures = _wanted(("ping", not reverts), ("gates_after", wants.gates and not reverts), ("judge", True))
    steps = [
        *_wanted(("gates_before", wants.gates and not reverts), ("apply", not reverts), ("retract", wants.retract),
                 ("restart", wants.restart and not reverts)),
        *measures,
        *_wanted(("soak", wants.soak and not reverts)),
    ]
    return {
        "stop": "" if reverts else "\n".join(refusal(hosts)),
        "order": [host.name for host in order],
        "canaries": sum(bool(host.fact("canary")) for host in order),
        "steps": steps,
        "measures": measures,
        "later": wants._asdict(),
    }


def _wanted(*files):
    return [name for name, wanted in files if wanted]


def soak(hosts, number):
    """How many seconds stage ``number`` is watched: as long as any of its ``hosts``, list of host.Host, wants it."""
    wanted = [host.fact("soaks") for host in hosts if host.planned]
    return max((its[min(number, len(its)) - 1] for its in wanted), default=0)


def rest_of_stage(hosts, alive, later, ends_play):
    """What a stage comes to once it was measured.

    :param hosts: list of host.Host, those of the stage.
    :param alive: the names of the hosts that are still in the run.
    :param later: what course() says under that name.
    :param ends_play: whether the play ends where the stage did harm.
    :return: dict with harm (why it has to be taken back, list of str) and steps (the files that it ends with).
    """
    found = harm(hosts, alive)
    reverts = any(host.run_direction == ABSENT for host in hosts)
    unfinished = any(rows_that(host.result.get("processes") or (), "unfinished") for host in hosts)
    persist = later["persist"] and not found and not reverts
    return {"harm": found, "steps": _wanted(
        ("look_again", (later["soak"] or unfinished) and not found and not reverts),
        ("persist", persist),
        # What a timer needs may fail, too.
        ("take_back", (found or persist) and not reverts),
        ("end_stage", True),
        ("stop", ends_play and (found or persist)),
    )}
