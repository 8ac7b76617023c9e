# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that the code of a position-independent file computes.

Code that lies near takes an address by an operand relative to RIP.  With
``-mcmodel=large`` nothing is near: code holds the distance of a function, or of
its PLT stub, from the global offset table in 64 bits, and adds it to the
address of the table.

Sources: the AMD64 supplement of the System V ABI, "Coding Examples" (large
model; R_X86_64_GOTOFF64, R_X86_64_PLTOFF64); Intel SDM volume 2 (LEA, MOV).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from ..arch.code import REL32

if TYPE_CHECKING:
    from .image import ElfImage

# A look-ahead finds overlapping matches too: a byte scan cannot know where instructions begin.
_LEA = re.compile(rb"(?=[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....))", re.DOTALL)
_LEA_SIZE = 7
# A distance backwards is negative; one forwards has its highest bytes empty.
_MOV64 = re.compile(rb"(?=[\x48\x49][\xb8-\xbf](.{5}(?:\x00\x00\x00|\xff\xff\xff)))", re.DOTALL)
_DISTANCE = struct.Struct("<q")

_TABLES = (".got", ".got.plt")
DT_PLTGOT = 3


def near_addresses(image: ElfImage) -> set[int]:
    """The link-time addresses that code of the file takes relative to RIP, a set: too many, never too few."""
    addresses: set[int] = set()
    for section in image.code_sections():
        behind = section.address + _LEA_SIZE
        for match in _LEA.finditer(image.section_data(section)):
            addresses.add(match.start() + behind + REL32.unpack(match.group(1))[0])
    return addresses


def far_addresses(image: ElfImage) -> set[int]:
    """The same for those that it may compute from a distance in 64 bits, be it only to call what is there."""
    tables = _offset_tables(image)
    addresses: set[int] = set()
    for section in image.code_sections():
        for match in _MOV64.finditer(image.section_data(section)):
            distance = _DISTANCE.unpack(match.group(1))[0]
            addresses.update(table + distance for table in tables)
    return addresses


def _offset_tables(image: ElfImage) -> set[int]:
    """Where the linker may have put _GLOBAL_OFFSET_TABLE_, a set of addresses: a stripped file does not tell."""
    tables = {section.address for section in map(image.section, _TABLES) if section is not None}
    named = image.dynamic_value(DT_PLTGOT)
    return tables if named is None else tables | {named}
