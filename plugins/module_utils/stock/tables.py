# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables by which the jumps of a ``switch`` lead."""

from __future__ import annotations

import struct
from typing import Iterator, Mapping

from ..arch.disassembly import direct_target, is_jump, loaded_address, outline, table_address
from ..elf.image import PF_X, ElfImage

_MOST_ENTRIES = 4096
_DISTANCE = struct.Struct("<i")
_ADDRESS = struct.Struct("<Q")


def table_targets(image: ElfImage, start: int, end: int, relative: Mapping[int, int]) -> set[int]:
    """Where in a function the jumps of its switches may lead: they go by tables of distances or addresses.

    :param image: ElfImage.
    :param start: the link-time address of the function.
    :param end: the address behind it.
    :param relative: what image.relative_addresses() gives: some linkers leave the words themselves empty.
    :return: set of link-time addresses; empty for a function without computed jumps.
    """
    tables = set()
    computed = False
    for address, size, mnemonic, operands in outline(image.read(start, end - start), start):
        if is_jump(mnemonic) and direct_target(operands) is None:
            computed = True
            table = table_address(operands)
        else:
            table = loaded_address(mnemonic, operands, address + size)
        if table is not None:
            tables.add(table)
    if not computed:
        return set()
    found: set[int] = set()
    for table in tables:
        for (distance,) in _entries(image, table, _DISTANCE):
            if not start <= table + distance < end:
                break
            found.add(table + distance)
        for index, (word,) in enumerate(_entries(image, table, _ADDRESS)):
            address = relative.get(table + index * _ADDRESS.size, word)
            if not start <= address < end:
                break
            found.add(address)
    return found


def _entries(image: ElfImage, table: int, entry: struct.Struct) -> Iterator[tuple[int]]:
    """The entries of what may be a table in data at link-time address ``table``."""
    for segment in image.segments:
        if (segment.type == "PT_LOAD" and not segment.flags & PF_X
                and segment.vaddr <= table < segment.vaddr + segment.filesz):
            size = min(segment.vaddr + segment.filesz - table, entry.size * _MOST_ENTRIES)
            yield from entry.iter_unpack(image.read(table, size - size % entry.size))
