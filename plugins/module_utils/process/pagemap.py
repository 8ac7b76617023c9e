# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tells of the pages of a process: /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst."""

from __future__ import annotations

import os

from ..arch.address_space import PAGE_SIZE

# Bytes of an entry, one for each page, little endian.
ENTRY_SIZE = 8


def read_pagemap(pid: int, start: int, count: int) -> bytes | None:
    """The entries of ``count`` pages from the one at ``start`` on; fewer at the end of the address space.

    :param pid: the process, or a thread of it that has not ended.
    :param start: where a page begins.
    :return: bytes; None where they cannot be read.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, count * ENTRY_SIZE, start // PAGE_SIZE * ENTRY_SIZE)
        finally:
            os.close(descriptor)
    except OSError:
        return None
