# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames on x86-64: who saves which register, and what marks the end of a stack.

Sources: psABI, chapter 3.2 (stack frame, red zone), figure 3.4 (registers that belong to the caller) and figure 3.36
(their DWARF numbers); glibc, sysdeps/x86_64/nptl/tls.h, nptl/descr.h and sysdeps/x86_64/dl-trampoline.h.
"""

from __future__ import annotations

from typing import Iterator

FRAME_POINTER = 6  # rbp
STACK_POINTER = 7  # rsp
RETURN_ADDRESS = 16
# rbx, rbp, r12 to r15: a function gives them back as they were.
CALLEE_SAVED = frozenset((3, 6, 12, 13, 14, 15))

RED_ZONE = 128

# No variant of _dl_runtime_resolve is longer; what comes behind delays, at the worst.
RESOLVER_SIZE = 512

# The kernel's arch/x86/kernel/cpu/proc.c.
SHADOW_STACK_FIELD, SHADOW_STACK = b"x86_Thread_features", b"shstk"

# A control block has its own address in its first and its third word.
CONTROL_BLOCK_ALIGNMENT = 64
_SELF = 16
# Where struct pthread has the thread's TID, in all versions that we know of.
CONTROL_BLOCK_TID = 0x2D0


def control_blocks(data: bytes, address: int) -> Iterator[int]:
    """The addresses of the control blocks of threads in ``data``, ascending.

    :param address: where it was read; a multiple of CONTROL_BLOCK_ALIGNMENT.
    """
    end = address + len(data) - _SELF - 7
    start = address
    while start < end:
        # As far as the high bytes of an address are the same: bytes.find is faster than a look at each place, and
        # several times faster if what it looks for does not end with zeros, as most of memory does.
        high = (start >> 16).to_bytes(6, "little").rstrip(b"\0")
        stop = min((start >> 16) + 1 << 16, end)
        while start < stop:
            found = data.find(high, start - address + 2, stop - address + 1 + len(high))
            if found < 0:
                break
            place = address + (found - 2 & -CONTROL_BLOCK_ALIGNMENT)
            own = place.to_bytes(8, "little")
            if place == address + found - 2 and data.startswith(own, found - 2) and data.startswith(
                    own, found - 2 + _SELF):
                yield place
            start = place + CONTROL_BLOCK_ALIGNMENT
        start = stop
