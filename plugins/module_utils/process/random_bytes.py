# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The random bytes that the kernel gives each program: they tell it from what the same process executed before.

A process that executes its own program again keeps its PID and start time.  As a
rule everything lies at other addresses then; without address space randomization
(personality(2), ADDR_NO_RANDOMIZE) everything may be where it was, the
runtime's state block included.  The bytes that AT_RANDOM of getauxval(3) leads
to are new each time.
"""

from __future__ import annotations

import struct

from ..named_tuple import NamedTuple
from .errors import NotMapped, ProgramReplaced
from .memory import read_memory
from .procfs import read_beginning

SIZE = 16
# include/uapi/linux/auxvec.h.
_AT_NULL, _AT_RANDOM = 0, 25
_ENTRY = struct.Struct("<QQ")


class RandomBytes(NamedTuple):
    """Those of one program."""

    address: int
    contents: bytes


NONE = RandomBytes(0, b"")


def random_bytes(pid):
    """The RandomBytes of the program that process ``pid`` executes; NONE: it shows none.

    :raises ProcessGone: there is no such process (any more).
    :raises ProcessForbidden: ptrace access is needed and not granted.
    """
    vector = read_beginning(pid, "auxv")
    for kind, value in _ENTRY.iter_unpack(vector[:len(vector) // _ENTRY.size * _ENTRY.size]):
        if kind == _AT_NULL:
            break
        if kind == _AT_RANDOM:
            try:
                return RandomBytes(value, read_memory(pid, value, SIZE))
            except NotMapped:
                break
    return NONE


def require_same_program(subject):
    """Make sure that a process (process.subject.Subject) has executed no program since it was examined.

    :raises ProgramReplaced: it has.
    :raises ProcessGone, ProcessForbidden: as random_bytes().
    """
    if random_bytes(subject.proc_tid) != subject.random_bytes:
        raise replaced(subject)


def replaced(subject):
    """The ProgramReplaced that says so of a process (process.subject.Subject)."""
    return ProgramReplaced(
        subject.pid,
        f"process {subject.pid} ({subject.name}) has become another program (execve) since it was examined; run again",
    )
