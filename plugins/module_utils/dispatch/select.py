# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are meant."""

from __future__ import annotations

import os
from collections import Counter
from fnmatch import fnmatchcase

from ..named_tuple import NamedTuple
from ..process.errors import ProcessError
from ..process.procfs import process_ids, process_name, read_stat, require_own_proc
from ..trigger.drive import WIDTH


class Selection(NamedTuple):
    """What a caller asked for; PIDs and names add up, and nothing at all means every process."""

    pids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()  # wildcards, as in a shell

    @property
    def everything(self):
        """Whether every process is meant."""
        return not self.pids and not self.names


class Chosen(NamedTuple):
    """One process to look at."""

    pid: int
    named: bool  # the caller asked for this very process, and wants to hear of it whatever becomes of it


def matches(name, patterns):
    """Whether ``name`` matches any of the wildcards."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def name_of(pid):
    """The name of process ``pid``, "" when it has ended."""
    try:
        return process_name(pid, read_stat(pid).name)
    except ProcessError:
        return ""


def short_name_of(pid):
    """What the kernel calls it, at most 15 characters: unlike name_of(), nothing of the process itself is read."""
    try:
        return read_stat(pid).name
    except ProcessError:
        return ""


def choose(selection) -> list[Chosen]:
    """The processes that Selection ``selection`` may mean, ascending by PID; this very process is never one.

    A PID that was asked for is in it even if there is no such process.  For the others, is_meant() tells.

    :raises UlpError: /proc does not say which processes there are here.
    """
    require_own_proc()
    wanted = set(selection.pids)
    pids = wanted if selection.pids and not selection.names else wanted.union(process_ids())
    return [Chosen(pid, pid in wanted) for pid in sorted(pids - {os.getpid()})]


def by_turns(chosen) -> list[Chosen]:
    """The Chosen ``chosen`` in the order in which to deal with them: one process of each user in turn.

    So the processes of one user, however many and however silent, do not come before all those of another.
    """
    if len(chosen) <= WIDTH:
        # All are dealt with at a time.
        return list(chosen)
    turns: Counter = Counter()
    places = {}
    for each in chosen:
        owner = _owner_of(each.pid)
        places[each.pid] = turns[owner]
        turns[owner] += 1
    return sorted(chosen, key=lambda each: places[each.pid])


def _owner_of(pid):
    """The effective user of process ``pid``, by its number; None: it has ended, or is hidden.

    The kernel gives its directory that owner for this very purpose (task_dump_owner() in fs/proc/base.c), also where
    the process may not be dumped.
    """
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def is_meant(candidate, selection):
    """Whether ``selection`` means the process ``candidate``, one of its choose()."""
    return candidate.named or selection.everything or matches(name_of(candidate.pid), selection.names)
