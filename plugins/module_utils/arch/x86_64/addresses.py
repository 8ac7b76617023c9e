# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that code computes.

Code that lies near takes an address by an operand relative to RIP.  With ``-mcmodel=large`` nothing is near: code holds
the distance of a function, or of its PLT stub, from the global offset table in 64 bits.

Sources: the AMD64 supplement of the System V ABI, "Coding Examples" (large model; R_X86_64_GOTOFF64,
R_X86_64_PLTOFF64); Intel SDM volume 2 (LEA, MOV).
"""

from __future__ import annotations

import re
import struct
from typing import Iterator

from .instructions import REL32

# Look-aheads find overlapping matches, too: a byte scan cannot know where instructions begin.
_LEA = re.compile(rb"(?=[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....))", re.DOTALL)
# A distance backwards is negative; one forwards has its highest bytes empty.
_MOV64 = re.compile(rb"(?=[\x48\x49][\xb8-\xbf](.{5}(?:\x00\x00\x00|\xff\xff\xff)))", re.DOTALL)
_DISTANCE = struct.Struct("<q")


def near_addresses(code: bytes) -> Iterator[tuple[int, int]]:
    """(place, address) of what takes an address relative to itself, as offsets from the first byte of ``code``.

    Too many, never too few.
    """
    for match in _LEA.finditer(code):
        yield match.start(), match.end(1) + REL32.unpack(match.group(1))[0]


def distances(code: bytes) -> Iterator[int]:
    """What it may add to the address of the global offset table, in bytes: too many, never too few."""
    for match in _MOV64.finditer(code):
        yield _DISTANCE.unpack(match.group(1))[0]
