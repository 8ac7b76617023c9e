# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons that execute a program anew for each session: a session does not inherit the daemon's livepatches.

A forked child has all livepatches of its parent; one that executes has what is
on disk.  Of the daemons that a host is likely to run that is OpenSSH's sshd
(sshd(8)).
"""

from __future__ import annotations

import os

from ...errors import UlpError
from ...process.procfs import read_stat
from .. import outcome
from ..outcome import Row

_NAME = "sshd"
_HAVE_IT = (outcome.PATCHED, outcome.ALREADY_PATCHED, outcome.PENDING)


def with_sessions(row) -> Row:
    """The Row, which of a listener of sshd also says what its sessions have."""
    if row.name != _NAME or row.outcome not in _HAVE_IT or not _is_listener(row.pid):
        return row
    said = (
        f"process {row.pid} ({row.name}) executes a program anew for each session, which runs the library on disk until"
        " that is fixed, or until it is patched itself by the next run"
    )
    return row._replace(reason=f"{row.reason}; {said}" if row.reason else said)


def _is_listener(pid):
    """Whether it is no session itself: neither the child of a listener, nor started with a connection (sshd -i)."""
    try:
        parent = read_stat(pid).parent
        return read_stat(parent).name != _NAME and not os.readlink(f"/proc/{pid}/fd/0").startswith("socket:")
    except (UlpError, OSError):
        # It has ended meanwhile, or has no such file, or is not to be looked at.
        return False
