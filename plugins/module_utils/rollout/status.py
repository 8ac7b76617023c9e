# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook livepatch_status says of a host."""

from __future__ import annotations

from ..attention import BY_ATTACHING, UNCONCERNED, concerns, has_to_do, urgency, urgency_refused
from ..counted import counted
from ..printable import printable

_LINE = "%-8s %-16s %-18s %7s %7s  %s"
_REFUSED_LINE = "%-8s %-16s %-18s %s"
_UNDER_IT = "         %s"


def status(facts, host, everything=False, unpatchable=True):
    """The processes of a host, what needs attention first, as lines of text.

    :param facts: the dict ``ansible_facts.ulp`` of the module ulp_facts.
    :param host: the host's name.
    :param everything: show processes that have nothing to do with any livepatch, too.
    :param unpatchable: show processes that cannot be patched.
    :return: list of str.
    """
    versions = ", ".join(facts["runtime_versions"])
    lines = [f"{host}: {_numbers(facts)}" + (f", runtime {versions}" if versions else "")]
    entries = [
        (urgency(process), process["pid"], _lines(process))
        for process in facts["processes"] if everything or has_to_do(process)
    ]
    if unpatchable:
        entries += [
            # What runs Ansible ends with the run.
            (UNCONCERNED if process["runs_ansible"] else urgency_refused(process), process["pid"], [_refused(process)])
            for process in facts["unpatchable"]
            if everything or (concerns(process) and not process["runs_ansible"])
        ]
    if entries:
        lines.append(_LINE % ("PID", "NAME", "STATE", "THREADS", "PENDING", "LIVEPATCHES"))
        lines += [line for _urgency, _pid, its in sorted(entries) for line in its]
    else:
        lines.append(_nothing(facts))
    hidden = sum(process["forbidden"] for process in facts["unpatchable"])
    if hidden and not everything:
        lines.append(f"left out: {counted(hidden, 'process', 'es')} that this user may not examine")
    return [printable(line).rstrip() for line in lines]


def _numbers(facts):
    attached = sum(process["attached"] for process in facts["processes"])
    by_attaching = sum(process["patchable"] == BY_ATTACHING for process in facts["unpatchable"])
    return ", ".join(filter(None, (
        f"{len(facts['processes'])} livepatchable" + (f" ({attached} of them attached to)" if attached else ""),
        f"{by_attaching} by attaching" if by_attaching else "",
        f"{len(facts['unpatchable']) - by_attaching} not",
    )))


def _nothing(facts):
    left_out = len(facts["processes"]) + len(facts["unpatchable"])
    more = f"; livepatch_show_all=true shows {counted(left_out, 'process', 'es')} that have not" if left_out else ""
    return f"nothing to show: no process has to do with a livepatch{more}"


def _lines(process):
    patches = process["patches"]
    shown = [
        f"{patch['name']} {patch['patch_id'][:12]} {patch['status']} {patch['time']} in {', '.join(patch['libraries'])}"
        for patch in patches
    ]
    line = _LINE % (
        process["pid"], process["name"], _state(process), process["threads"], process["threads_pending"],
        "; ".join(shown) or _file_names(library["path"] for library in process["libraries"]),
    )
    return [line, *(_UNDER_IT % patch["undone"] for patch in patches if patch["status"] == "undone")]


def _state(process):
    return _state_of_patches(process) + (", attached" if process["attached"] else "")


def _state_of_patches(process):
    states = {patch["status"] for patch in process["patches"]}
    if "undone" in states:
        return "undone"
    if process["threads_pending"]:
        return "pending"
    if "applied" in states:
        return "patched"
    if states:
        return "reverted"
    return "patchable" if process["libraries"] else "no library"


def _refused(process):
    # Once it has the runtime it is as good as any other.
    if process["patchable"] == BY_ATTACHING and not process["runs_ansible"]:
        return _REFUSED_LINE % (process["pid"], process["name"], BY_ATTACHING, _file_names(process["libraries"] or ()))
    state = "runs Ansible" if process["runs_ansible"] else "not patchable"
    return _REFUSED_LINE % (process["pid"], process["name"], state, process["reason"])


def _file_names(paths):
    return ", ".join(path.rpartition("/")[2] for path in paths)
