# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages of a process hold anything: /proc/PID/pagemap, proc(5).

Most of what a program has asked the kernel for it has never used.  A search
leaves that out: it is zero, and to read it takes as long as anything else.
"""

from __future__ import annotations

import re

from ..arch.address_space import PAGE_SIZE
from .pagemap import ENTRY_SIZE, read_pagemap

# Bit 63 of an entry says that the page is in memory, bit 62 that it is swapped out.
_USED = bytes(entry >> 6 and 1 for entry in range(256))


def touched(pid, start, end):
    """The pages of private memory without a file that were ever written or read, in ranges of addresses.

    :param pid: the process, or a thread of it that has not ended.
    :param start: where a page begins, as at ``end``.
    :return: (start, end) pairs, ascending; all of it where that cannot be told.
    """
    count = (end - start) // PAGE_SIZE
    entries = read_pagemap(pid, start, count)
    if entries is None or len(entries) != count * ENTRY_SIZE:
        return [(start, end)]
    used = entries[ENTRY_SIZE - 1::ENTRY_SIZE].translate(_USED)
    return [
        (start + run.start() * PAGE_SIZE, start + run.end() * PAGE_SIZE) for run in re.finditer(rb"\x01+", used)]
