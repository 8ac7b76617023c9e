# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which mappings a process has used since we asked: /proc/PID/clear_refs, and ``Referenced`` in smaps, proc(5).

The processor marks each page that is read, written or executed.  So no breakpoint is needed to see whether code ran.
"""

from __future__ import annotations

import os
from typing import Iterable

from ..errors import UlpError
from .maps import MOST_BYTES
from .procfs import read_long, text_lines

# "1": of all mappings.
_ALL = b"1"
# smaps has some 20 lines for each mapping, of which maps has one.
_MOST_BYTES = 8 * MOST_BYTES


def forget_references(pid: int) -> bool:
    """Have the kernel forget what a process has used up to now; False where it does not do that."""
    try:
        descriptor = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, _ALL)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def has_executed(pid: int, paths: Iterable[str]) -> bool | None:
    """Whether a process has executed code of certain files since forget_references().

    The kernel also counts what other processes do with a page of the same file, so each should have files of its own.

    :param paths: how the files' paths begin in the memory map.
    :return: None where that cannot be told.
    """
    try:
        lines = text_lines(read_long(pid, "smaps", _MOST_BYTES))
    except UlpError:
        return None
    wanted = tuple(os.fsencode(path) for path in paths)
    is_wanted = known = False
    for line in lines:
        words = line.split(None, 5)
        if not words[0].endswith(b":"):
            is_wanted = len(words) > 5 and words[1][2:3] == b"x" and words[5].startswith(wanted)
        elif words[0] == b"Referenced:":
            known = True
            if is_wanted and int(words[1]):
                return True
    return False if known else None
