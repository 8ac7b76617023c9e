# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code that loaded the runtime, where whoever sent it was ended before it could take that away."""

from __future__ import annotations

import contextlib
import os

from ... import abi
from ...errors import BadElf
from ...process.errors import NotMapped, ProcessGone, StateUnreadable
from ...process.maps import read_maps
from ...process.memory import read_memory
from ...tracee.bootstrap import Place
from .clearance import clear, is_called_at_fork
from .layout import read_words, rooms_for_code

# Kernel: PATH_MAX, of the path behind the code.
_LONGEST_PATH = 4096
_UNDER_WAY = (abi.BOOTSTRAP_STARTED, abi.BOOTSTRAP_WAITS)


def left_behind(subject, files):
    """The tracee.bootstrap.Place of the code that lies in a process still, whole or in part, or None.

    None, too, where a file that it has mapped cannot be read, and there is nothing to look at by.

    :param subject: process.subject.Subject.
    :param files: process.mapped.MappedFiles.
    :raises ProcessGone: it has ended.
    """
    with contextlib.suppress(BadElf, NotMapped, StateUnreadable):
        for address, room in rooms_for_code(subject, read_maps(subject.proc_tid), files):
            found = _left_at(subject.proc_tid, address, room)
            if found is not None:
                return found
    return None


def _left_at(pid, address, room):
    if room <= abi.BOOTSTRAP.size:
        return None
    code = read_memory(pid, address, room)
    head = abi.BOOTSTRAP.unpack(code[:abi.BOOTSTRAP.size])
    # The head is written first, and zeroed last.
    if head.magic != abi.BOOTSTRAP_MAGIC or not abi.BOOTSTRAP.size < head.size <= room:
        return None
    end = code.find(b"\0", head.size, head.size + _LONGEST_PATH)
    return Place(address, code[:end if end >= 0 else head.size], address + head.entry)


def is_at_work(subject, place):
    """Whether the code may still be loading the runtime, for all that it says."""
    head = abi.BOOTSTRAP.unpack(place.code[:abi.BOOTSTRAP.size])
    return read_words(subject.proc_tid, head.words).stage in _UNDER_WAY


def stays(place):
    """What facts and rows say of it, a sentence."""
    return (
        "an attach was cut off: the code that loaded the runtime lies behind the C library's code, or the program's, at"
        f" {place.address:#x}"
    )


def told(job, subject, row):
    """The Row, which also says of such code; a generator.  With what else was changed the code is taken away.

    :param subject: process.subject.Subject, of a process to which somebody had attached before.
    """
    try:
        return (yield from _told(job, subject, row))
    except ProcessGone:
        # What was done before stands all the same.
        return row


def _told(job, subject, row):
    place = left_behind(subject, job.files)
    if place is None:
        return row
    said = f"{stays(place)}; it is taken away when a livepatch is applied or reverted"
    if is_called_at_fork(subject, place):
        said = f"{stays(place)}; it stays, as the process was forked while it ran, and its forks may lead there"
    elif row.changed and job.options.check:
        said = f"{stays(place)}, and would be taken away"
    elif row.changed and not is_at_work(subject, place) and (yield from _taken_away(subject, place)):
        said = "an earlier attach had been cut off; the code that it had left was taken away"
    return row._replace(reason="; ".join(filter(None, (row.reason, said))))


def _taken_away(subject, place):
    try:
        memory = os.open(f"/proc/{subject.proc_tid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # It has ended, or this user may no longer.
        return False
    try:
        return (yield from clear(subject, place, memory))
    finally:
        os.close(memory)
