# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process belongs to: a program, a user, systemd units."""

from __future__ import annotations

import os
import pwd
import re
from functools import lru_cache

from .procfs import explained, process_name, read_long, read_stat, read_status, text_lines

_DELETED = " (deleted)"
# The engines name a container's control group after its ID: libpod-ID.scope, docker/ID, cri-containerd-ID.scope; that
# of podman's watcher outside is called libpod-conmon-ID.scope.
_CONTAINER = re.compile(rb"(?<!conmon)[/:-]([0-9a-f]{64})(?:\.scope)?(?=/|$)", re.MULTILINE)
# How much of it their commands show, and take.
_CONTAINER_DIGITS = 12
# systemd.unit(5): what can hold processes.
UNIT_SUFFIXES = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")


def names(pid):
    """The program's name as rows show it and, where that is another, as the kernel cuts it; a tuple of str.

    :raises ProcessGone: there is no such process.
    """
    comm = read_stat(pid).name
    name = process_name(pid, comm)
    return (name,) if name == comm else (name, comm)


def executable(pid):
    """Path of the program, as the process itself sees it; "" for a kernel thread or a zombie.

    :raises ProcessGone: there is no such process.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    try:
        path = os.readlink(f"/proc/{pid}/exe")
    except FileNotFoundError:
        read_stat(pid)
        return ""
    except OSError as error:
        raise explained(pid, error) from error
    return path[:-len(_DELETED)] if path.endswith(_DELETED) else path


def users(pid):
    """The effective user of the process: its number and, if it has one, its name; a tuple of str.

    :raises ProcessGone: there is no such process.
    """
    number = read_status(pid).uid
    try:
        return (str(number), pwd.getpwuid(number).pw_name)
    except KeyError:
        return (str(number),)


def parse_units(data):
    """The systemd units in the bytes of a cgroup file (cgroups(7)), outermost first; a tuple of str.

    That is the unified hierarchy or, on a machine without it, the one that systemd names after itself.
    """
    for line in text_lines(data):
        _number, controllers, path = line.split(b":", 2)
        if controllers == b"name=systemd" or (not controllers and path != b"/"):
            found = tuple(part for part in os.fsdecode(path).split("/") if part.endswith(UNIT_SUFFIXES))
            if found:
                return found
    return ()


def units(pid):
    """The systemd units that the process is in, slices too, outermost first; a tuple of str.

    :raises ProcessGone: there is no such process.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    return parse_units(read_long(pid, "cgroup"))


def service(pid):
    """The name of the service of the system, not of a user's, that the process is of; "" if it is of none.

    :raises ProcessGone: there is no such process.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    return service_of(units(pid))


def service_of(names):
    """The same of what units() says."""
    # The last, as a container has one of its own.
    _before, found, inside = "\n".join(names).rpartition("system.slice\n")
    name = next((name for name in inside.split("\n") if not name.endswith(".slice")), "") if found else ""
    return name if name.endswith(".service") else ""


def parse_container(data):
    """The short ID of the container in the bytes of a cgroup file, the innermost one; None: there is none."""
    found = _CONTAINER.findall(data)
    return found[-1][:_CONTAINER_DIGITS].decode("ascii") if found else None


@lru_cache(maxsize=None)
def _own_container():
    return parse_container(read_long("self", "cgroup"))


def container(pid):
    """The short ID of the container that the process is in; None: in none, or in the one in which we are.

    :raises ProcessGone: there is no such process.
    :raises ProcessForbidden: it belongs to somebody else.
    """
    found = parse_container(read_long(pid, "cgroup"))
    return None if found == _own_container() else found
