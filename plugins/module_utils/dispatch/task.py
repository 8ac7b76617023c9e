# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker is asked to do with one process, and what it says of that.

Tasks travel through one pipe from which all workers read, so each is as long
as the others: a read takes a whole one, and no two workers get the same.
"""

from __future__ import annotations

import pickle
import struct

from ..named_tuple import NamedTuple

_RECORD = struct.Struct("<QIBBB1x")
RECORD_SIZE = _RECORD.size
_LENGTH = struct.Struct("<I")

# What a worker says of a task: it has begun it; sends the process a request; is done, with a result; has given up
# because it takes too long; ends because it takes too much memory; or something is wrong with the tool's own side. TOLD
# belongs to no task.
BEGUN, TOUCHES, DONE, OVERDUE, OVERSIZED, RAISED, TOLD = range(7)


class Task(NamedTuple):
    """Something to be done with one process."""

    kind: int  # whoever starts the workers knows what it stands for
    pid: int
    named: bool = False  # the caller asked for this very process
    touched: bool = False  # a worker that had to be ended had sent it a request

    def packed(self, number):
        """The record of this task as the task ``number``."""
        return _RECORD.pack(number, self.pid, self.kind, self.named, self.touched)


def unpacked(record):
    """(number, Task) of a record."""
    number, pid, kind, named, touched = _RECORD.unpack(record)
    return number, Task(kind, pid, bool(named), bool(touched))


def message(kind, number, value=None):
    """The bytes by which a worker says ``kind`` of task ``number``."""
    data = pickle.dumps((kind, number, value))
    return _LENGTH.pack(len(data)) + data


def messages(data):
    """(list of (kind, number, value), the rest that is no whole message yet) of bytes from a worker."""
    found = []
    position = 0
    while len(data) >= position + _LENGTH.size:
        end = position + _LENGTH.size + _LENGTH.unpack_from(data, position)[0]
        if len(data) < end:
            break
        found.append(pickle.loads(data[position + _LENGTH.size:end]))
        position = end
    return found, data[position:]


def portable(error):
    """An exception in a form that can be sent: its class need not have a constructor that takes its ``args``."""
    return type(error), error.args, error.__dict__


def restored(parts):
    """The exception that portable() took apart."""
    kind, args, fields = parts
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error
