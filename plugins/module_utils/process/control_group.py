# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control groups of a process, which limit it from outside: frozen or not, and how much memory is left.

A group that cannot be seen from here, as its hierarchy is not mounted, is passed over: nobody can tell then.

Sources: cgroups(7); the kernel's Documentation/admin-guide/cgroup-v2.rst (cgroup.events, memory.max, memory.stat),
cgroup-v1/freezer-subsystem.rst (freezer.state) and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import os
from itertools import chain

from ..named_tuple import NamedTuple
from .procfs import read_bytes, text_lines

_MOUNTS = "/proc/self/mounts"
_FREEZER, _MEMORY = "freezer", "memory"
_FROZEN_STATES = ("FROZEN", "FREEZING")
_ROOT = "/"


class _Group(NamedTuple):
    """A control group: ``directory`` in a mounted hierarchy, and its ``path`` in that."""

    directory: str
    path: str

    def read(self, name):
        """The file ``name`` of the group as text; empty where there is none, or it cannot be read."""
        try:
            with open(f"{self.directory}/{name}", encoding="ascii", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def number(self, name):
        """The number in the file ``name``; None where there is none, or it says "max"."""
        text = self.read(name).strip()
        return int(text) if text.isdigit() else None


def frozen_group(pid):
    """The path of the control group by which a process is frozen; None if it is not, or nobody can tell.

    Nothing of that shows in /proc/PID/stat, and a thread that is sent off would not get there before it is thawed.

    :param pid: the process, or a thread of it that has not ended.
    :raises ProcessGone, ProcessForbidden: it cannot be looked at.
    """
    lines = _group_lines(pid)
    for group in _groups(lines, ""):
        if "frozen 1" in group.read("cgroup.events").split("\n"):
            return group.path
    for group in _groups(lines, _FREEZER):
        if group.read("freezer.state").strip() in _FROZEN_STATES:
            return group.path
    return None


class Memory(NamedTuple):
    """What memory, in bytes, a process may still have by the control group at ``path``."""

    path: str
    left: int


def memory_left(pid):
    """The Memory of the control group that leaves a process the least; None if none limits it, or nobody can tell.

    Who goes beyond is ended by the kernel, if it can't take pages of files away from the group first.  Those count as
    left that no process has mapped.

    :param pid: the process, or a thread of it that has not ended.
    :raises ProcessGone, ProcessForbidden: it cannot be looked at.
    """
    lines = _group_lines(pid)
    found = [
        *_memory_of(_groups(lines, ""), "memory.max", "memory.current", ""),
        *_memory_of(_groups(lines, _MEMORY), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ]
    return min(found, key=lambda memory: memory.left, default=None)


def _memory_of(groups, limit_file, used_file, prefix):
    """The Memory of each group, and of each above it, that has a limit."""
    mapped_name = f"{prefix}mapped_file" if prefix else "file_mapped"
    for group in chain.from_iterable(map(_with_those_above, groups)):
        limit, used = group.number(limit_file), group.number(used_file)
        if limit is None or used is None:
            continue
        statistics = dict(line.split(" ", 1) for line in group.read("memory.stat").split("\n") if " " in line)
        inactive, active, mapped = (
            int(statistics.get(name, "0")) for name in (f"{prefix}inactive_file", f"{prefix}active_file", mapped_name))
        yield Memory(group.path, limit - used + max(inactive + active - mapped, 0))


def _with_those_above(group):
    place, path = group.directory[:len(group.directory) - len(group.path)], group.path
    while path != _ROOT:
        yield _Group(place + path, path)
        path = os.path.dirname(path)


def _group_lines(pid):
    """The lines of /proc/PID/cgroup, one for each hierarchy."""
    return text_lines(read_bytes(pid, "cgroup"))


def _groups(lines, controller):
    """The _Group in the hierarchy of a controller, or of version 2 where that is empty: one, or none.

    :param lines: of _group_lines().
    """
    for line in lines:
        hierarchy, controllers, path = os.fsdecode(line).split(":", 2)
        # In the root of a hierarchy nothing is limited.  Of a group outside our namespace (/..) nothing is seen.
        if path == _ROOT or path.startswith("/.."):
            continue
        if (hierarchy == "0" and not controllers) if not controller else controller in controllers.split(","):
            for place in _mounted(controller):
                if os.path.isdir(place + path):
                    return [_Group(place + path, path)]
    return []


def _mounted(controller):
    """Where a hierarchy is mounted, as we see it: fields as in proc_pid_mounts(5)."""
    try:
        with open(_MOUNTS, "rb") as file:
            lines = text_lines(file.read())
    except OSError:
        return
    kind = "cgroup" if controller else "cgroup2"
    for line in lines:
        fields = os.fsdecode(line).split(" ")
        if len(fields) > 3 and fields[2] == kind and (not controller or controller in fields[3].split(",")):
            yield fields[1].replace("\\040", " ")
