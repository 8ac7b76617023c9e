# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a rollout must not begin, and why a stage has to be taken back."""

from __future__ import annotations

from ..errors import NO_SIGNERS
from ..printable import some
from ..trigger import outcome
from .host import ABSENT, ERROR

_RETRACTED = "this livepatch is retracted there; ulp_livepatch_revert_retracted=true reverts it"
_SUSPECT = (
    ", before this run as well, but with the livepatch applied already, which may be the cause; revert it on this host,"
    " or put the host on hold"
)


def refusal(hosts):
    """Why the rollout may not begin: a list of sentences, empty where it may.

    What is the same on several hosts is said once.

    :param hosts: list of host.Host, all that it is for.
    """
    in_error: dict[str, list[str]] = {}  # {what went wrong: the names of the hosts}
    in_the_way: dict[str, list[str]] = {}
    stuck: dict[tuple, list[str]] = {}  # {(name, command, reason): what is stuck}
    for host in hosts:
        plan = host.plan or {}
        if host.readiness == ERROR:
            in_error.setdefault("; ".join(host.trouble), []).append(host.name)
        elif plan.get("stopped"):
            in_the_way.setdefault("the kill switch is set", []).append(host.name)
        elif plan.get("retracted"):
            in_the_way.setdefault(_RETRACTED, []).append(host.name)
        elif host.fact("consent") is None:
            for its in host.restarts:
                own = f"process {its['pid']} ({its['name']})"
                why = its["reason"].replace(own, "it")
                stuck.setdefault((its["name"], its["command"], why), []).append(f"{host.name} ({its['pid']})")
    lines = [f"{some(names)}: {trouble}" for found in (in_error, in_the_way) for trouble, names in found.items()]
    lines += [
        f"{some(where)}: {name} can't be patched, {why}; {command}" for (name, command, why), where in stuck.items()
    ]
    if any(NO_SIGNERS in trouble for trouble in in_error):
        lines.append(
            "Set ulp_livepatch_allowed_signers_source to a file of yours that lists who may sign: it is then put on the"
            " hosts. Or set ulp_livepatch_allowed_signers to '' to take livepatches that nobody has signed."
        )
    if stuck:
        lines.append(
            "Set ulp_livepatch_restart to true to restart the units of such processes, or to false to leave them"
            " vulnerable and report them."
        )
    return lines


def harm(hosts, alive):
    """Why the stage has to be taken back: a list of sentences, empty if it need not.

    :param hosts: list of host.Host, those of the stage.
    :param alive: the names of the hosts that are still in the run.
    """
    return [
        f"{host.name}: {reason}"
        for host in hosts
        for reason in (_harm_on(host) if host.name in alive else ["it dropped out of the run"])
    ]


def _harm_on(host):
    if not host.planned:
        return []
    found = list(host.trouble)
    if not host.was_dealt_with and not host.trouble:
        found.append("it ended without an answer")
    if host.direction != ABSENT:
        if host.result.get("stopped"):
            found.append("the kill switch is set")
        if host.result.get("retracted"):
            found.append("the livepatch was retracted meanwhile")
    return found + [f"health gate failed: {name}" for name in _failed_gates(host)]


def _failed_gates(host):
    """The names of the gates that fail now, but not of those that had failed before without the livepatch."""
    failing = [gate for gate in host.gates if gate["after"] is False]
    found = [gate["name"] for gate in failing if gate["before"]]
    planned = (host.plan or {}).get("processes", [])
    # As an interrupted run leaves it.
    if any(outcome.MEANINGS[row["outcome"]].was_loaded for row in planned):
        found += [gate["name"] + _SUSPECT for gate in failing if not gate["before"]]
    return found
