# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread's control block: it marks the upper end of a stack that the C library has made."""

from __future__ import annotations

from ..arch.frames import CONTROL_BLOCK_ALIGNMENT, CONTROL_BLOCK_TID, control_blocks
from .errors import StateUnreadable
from .memory import read_memory

# Bytes read at once.
CHUNK = 1 << 18


def has_control_block(pid, address, end):
    """Whether a thread's control block lies between the addresses: then a thread's stack ends there.

    :param pid: the process, or a thread of it that has not ended.
    """
    return find_control_block(pid, address, end) is not None


def find_control_block(pid, address, end):
    """The address of the first thread's control block between the addresses, or None; arguments as above."""
    # So that none lies across two pieces.
    first = -(-address // CONTROL_BLOCK_ALIGNMENT) * CONTROL_BLOCK_ALIGNMENT
    for start in range(first, end, CHUNK):
        size = min(CHUNK, end - start)
        try:
            data = read_memory(pid, start, size)
        except StateUnreadable:
            return None
        found = next(control_blocks(data, start), None)
        if found is not None:
            return found
    return None


def owner(pid, control_block):
    """The TID, in the process's own PID namespace, of the thread that a control block belongs to.

    To be certain, compare it with that of a thread that exists: another C library may have something else there.

    :param pid: the process, or a thread of it that has not ended.
    :return: None where it cannot be read.
    """
    try:
        return int.from_bytes(read_memory(pid, control_block + CONTROL_BLOCK_TID, 4), "little")
    except StateUnreadable:
        return None
