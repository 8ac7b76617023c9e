# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was done to the processes of this host: a file with one JSON object a line, the oldest first.

It says what happened, not who did it.  It is bounded: the oldest lines go when
it would become larger than LIMIT.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import contextmanager

from ..atomic_file import read_file, replace_file
from ..errors import FileProblem
from ..trigger import outcome
from ..trusted_path import require_unchangeable

LIMIT = 1 << 20  # bytes
ENTRIES = 50  # how many of the last ones are facts
LOCK_EXTENSION = ".lock"

# How long to wait for another writer, in seconds: one that was stopped (SIGSTOP) must not stop everybody.
_PATIENCE = 10.0
_PAUSE = 0.005


def entries_of(rows, livepatches, operation):
    """The ledger entries, dicts, for those of the trigger.outcome.Row ``rows`` that changed or failed.

    :param livepatches: list of livepatch.livepatch.Livepatch: what was dispatched.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    names = {livepatch.patch_id: os.path.basename(livepatch.path) for livepatch in livepatches}
    return [
        {
            "time": now,
            "operation": operation,
            "patch_id": row.patch_id,
            "patch": names.get(row.patch_id, ", ".join(names.values())),
            "pid": row.pid,
            "name": row.name,
            "outcome": row.outcome,
            "reason": row.reason,
            "held_us": row.held_us,
            "container": row.container,
        }
        for row in rows
        if row.changed or row.outcome == outcome.FAILED
    ]


def is_kept(path):
    """Whether there is a place for a ledger at ``path`` that this user may write to; None: no."""
    return bool(path) and os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)


def append(path, entries):
    """Add entries, all at once: a reader or another writer sees all of them or none.

    :param path: of the ledger; its directory must exist.
    :param entries: list of dict.
    :raises FileProblem: the operating system said no, or another writer does not come to an end.
    :raises Untrusted: another user could make the ledger lead elsewhere.
    """
    added = b"".join(json.dumps(entry, sort_keys=True).encode("ascii") + b"\n" for entry in entries)
    require_unchangeable(os.path.dirname(os.path.abspath(path)), "directory of the ledger")
    try:
        with _locked(f"{path}{LOCK_EXTENSION}"), _opened(path) as descriptor:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                # The machine stopped in the middle of a line.
                added = b"\n" + added
            if size + len(added) > LIMIT:
                replace_file(path, _last(os.pread(descriptor, size, 0) + added))
            else:
                _write(descriptor, added)
    except OSError as error:
        raise FileProblem("write", path, error) from error


def read_last(path, count):
    """The last ``count`` entries, a list of dict, the oldest first; none when there is no ledger.

    :raises FileProblem: it cannot be read.
    """
    if not path or count <= 0 or not os.path.exists(path):
        return []
    found = []
    for line in reversed(read_file(path).splitlines()):
        try:
            entry = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            # Half a line, because the machine stopped while it was written; or none of ours, nested too deep.
            continue
        if isinstance(entry, dict):
            found.append(entry)
        if len(found) == count:
            break
    return found[::-1]


def _refuse_constant(name):
    """Refuse NaN and its kin: Python reads and writes them, but they are not JSON, so others can not read them."""
    raise ValueError(f"{name} is no JSON")


@contextmanager
def _locked(path):
    """Nobody else is at it.

    The lock is on a file of its own that others may not open: whoever can read a file can lock it (flock(2)), and
    everybody may read the ledger.
    """
    with _opened(path, 0o600) as descriptor:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise OSError(errno.EAGAIN, f"another process has held {path} locked for too long") from error
            time.sleep(_PAUSE)
        yield


@contextmanager
def _opened(path, mode=0o644):
    """A descriptor of the file that ``path`` is, which nobody has led elsewhere."""
    descriptor = os.open(
        path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode
    )
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor, data):
    # One write for all of it; only a full disk makes it more.
    while data:
        data = data[os.write(descriptor, data):]


def _last(data):
    """The last whole lines of ``data`` that fit into LIMIT bytes."""
    if len(data) <= LIMIT:
        return data
    cut = data.find(b"\n", len(data) - LIMIT - 1)
    return data[cut + 1:]
