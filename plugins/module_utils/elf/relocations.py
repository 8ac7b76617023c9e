# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dynamic relocations of an ELF file.

There can be tens of thousands, so they are decoded with struct.  Source: the System V gABI, chapter 5 (dynamic
section, DT_RELR); arch.elf_format has the types.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Iterator

from ..arch.elf_format import R_RELATIVE
from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    from .image import ElfImage

DT_PLTRELSZ = 2
DT_RELA = 7
DT_RELASZ = 8
DT_JMPREL = 23
DT_RELRSZ = 35
DT_RELR = 36

# As with symbols. A word of DT_RELR stands for up to 63 places.
_MOST_RELOCATIONS = 1 << 20

_RELA = struct.Struct("<QQq")


class Relocation(NamedTuple):
    """One dynamic relocation with addend; ``symbol`` is an index into the dynamic symbols."""

    offset: int
    type: int
    symbol: int
    addend: int


def read_relocations(image: ElfImage) -> list[Relocation]:
    """As ElfImage.relocations()."""
    return list(_relocations(image))


def _relocations(image: ElfImage) -> Iterator[Relocation]:
    for start, size in ((DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)):
        address = image.dynamic_value(start)
        length = image.dynamic_value(size)
        if address is None or not length:
            continue
        image.require_few(length // _RELA.size, _MOST_RELOCATIONS, "relocations")
        for offset, info, addend in _RELA.iter_unpack(image.read(address, length - length % _RELA.size)):
            yield Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend)


def read_relative_addresses(image: ElfImage) -> dict[int, int]:
    """As ElfImage.relative_addresses()."""
    addresses = {
        relocation.offset: relocation.addend & 0xFFFFFFFFFFFFFFFF
        for relocation in _relocations(image) if relocation.type == R_RELATIVE
    }
    for count, place in enumerate(_relr_places(image)):
        if count == _MOST_RELOCATIONS:
            image.require_few(count + 1, _MOST_RELOCATIONS, "relocations")
        addresses[place] = struct.unpack("<Q", image.read(place, 8))[0]
    return addresses


def _relr_places(image: ElfImage) -> Iterator[int]:
    address, size = image.dynamic_value(DT_RELR), image.dynamic_value(DT_RELRSZ)
    if address is None or not size:
        return
    place = 0
    for (word,) in struct.iter_unpack("<Q", image.read(address, size - size % 8)):
        if word & 1 == 0:
            yield word
            place = word + 8
        else:
            for bit in range(63):
                if word >> (bit + 1) & 1:
                    yield place + 8 * bit
            place += 63 * 8
