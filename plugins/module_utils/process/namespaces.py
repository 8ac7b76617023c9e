# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces of a process (namespaces(7)): is what it calls a file or a PID what we call so?"""

from __future__ import annotations

import os
from functools import lru_cache

from ..errors import FileProblem
from .procfs import explained, read_status


@lru_cache(maxsize=None)
def _own(kind):
    ours = os.stat(f"/proc/self/ns/{kind}")
    return ours.st_dev, ours.st_ino


def _shares(pid, kind):
    try:
        theirs = os.stat(f"/proc/{pid}/ns/{kind}")
    except OSError as error:
        raise explained(pid, error) from error
    return (theirs.st_dev, theirs.st_ino) == _own(kind)


def shares_pid_namespace(pid):
    """Whether ``pid`` numbers processes as we do; raises ProcessGone, ProcessForbidden."""
    return _shares(pid, "pid")


def inner_thread_id(pid, tid):
    """The number that thread ``tid`` of ``pid`` has in its own PID namespace: what gettid() tells it."""
    return read_status(pid, tid).namespace_pids[-1]


def same_file_inside(pid, path):
    """Whether ``path``, looked up by process ``pid``, is the very file that it is for us.

    A process in a container, or after chroot(2), may see another file there,
    or none.

    :raises FileProblem: we do not see the file ourselves.
    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    try:
        ours = os.stat(path)
    except OSError as error:
        raise FileProblem("read", path, error) from error
    try:
        theirs = os.stat(f"/proc/{pid}/root{path}")
    except FileNotFoundError:
        # Tells a missing file from a missing process.
        read_status(pid)
        return False
    except OSError as error:
        raise explained(pid, error) from error
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
