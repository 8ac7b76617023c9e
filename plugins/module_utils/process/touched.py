# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages of a process hold anything: /proc/PID/pagemap, proc(5).

Most of what a program has asked the kernel for it has never used.  A search
leaves that out: it is zero, and to read it takes as long as anything else.
"""

from __future__ import annotations

import os
import re

from ..arch.address_space import PAGE_SIZE

# One for each page, little endian: bit 63 says that it is in memory, bit 62 that it is swapped out.
_ENTRY_SIZE = 8
_USED = bytes(entry >> 6 and 1 for entry in range(256))


def touched(pid, start, end):
    """The pages of private memory without a file that were ever written or read, in ranges of addresses.

    :param pid: the process, or a thread of it that has not ended.
    :param start: where a page begins, as at ``end``.
    :return: (start, end) pairs, ascending; all of it where that cannot be told.
    """
    count = (end - start) // PAGE_SIZE
    try:
        descriptor = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            entries = os.pread(descriptor, count * _ENTRY_SIZE, start // PAGE_SIZE * _ENTRY_SIZE)
        finally:
            os.close(descriptor)
    except OSError:
        entries = b""
    if len(entries) != count * _ENTRY_SIZE:
        return [(start, end)]
    used = entries[_ENTRY_SIZE - 1::_ENTRY_SIZE].translate(_USED)
    return [
        (start + run.start() * PAGE_SIZE, start + run.end() * PAGE_SIZE) for run in re.finditer(rb"\x01+", used)]
