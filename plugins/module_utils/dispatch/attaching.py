# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ledger and journal hear of it before the runtime is loaded into a process that was started without it."""

from __future__ import annotations

import contextlib
import os
import pwd
import syslog
import time

from ..printable import printable
from ..process.affiliation import executable
from . import ledger

OPERATION = "attach"
_IDENTITY = "libpulp.livepatch"
# What the kernel says of a process that no login led to.
_NO_LOGIN = (1 << 32) - 1


def write_down(path, livepatch, pid, name, digest):
    """Say what is about to be done to process ``pid``.

    :param path: of the ledger; None, or one whose directory does not exist: there is none.
    :param livepatch: livepatch.livepatch.Livepatch.
    :param name: of the process.
    :param digest: SHA-256 of the runtime's file, hexadecimal.
    :raises FileProblem, Untrusted: the ledger is kept, and cannot be written: then nothing may be done.
    """
    program, user = executable(pid), invoking_user()
    if ledger.is_kept(path):
        ledger.append(path, [{
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "operation": OPERATION,
            "patch_id": livepatch.patch_id,
            "patch": os.path.basename(livepatch.path),
            "pid": pid,
            "name": name,
            "outcome": None,
            "reason": f"the runtime is about to be loaded into {program}",
            "held_us": None,
            "container": None,
            "runtime": digest,
            "user": user,
        }])
    syslog.openlog(_IDENTITY, syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, printable(
        f"loading the livepatch runtime (SHA-256 {digest}) into process {pid} ({program}) for livepatch"
        f" {livepatch.patch_id}, asked by {user}"
    ))


def invoking_user():
    """The name of the user that somebody logged in as to run this, or of the one that this runs as."""
    number = os.getuid()
    with contextlib.suppress(OSError, ValueError), open("/proc/self/loginuid", encoding="ascii") as stream:
        login = int(stream.read())
        number = number if login == _NO_LOGIN else login
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
