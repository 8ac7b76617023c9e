# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what an ELF file exports by name, without reading its whole symbol table.

Source: the GNU hash table as binutils and glibc know it (DT_GNU_HASH); symbol
versions are not looked at.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    from .image import ElfImage

_DT_SYMTAB = 6
_DT_STRTAB = 5
_DT_GNU_HASH = 0x6FFFFEF5
_HEADER = struct.Struct("<4I")
_SYMBOL = struct.Struct("<IBBHQQ")
_STT_FUNC = 2
# No table has so many symbols of one hash.
_LONGEST_CHAIN = 1 << 12
# {image: {name: what it exports by that name}}: the same names are looked up for each process that has the file.
_known: WeakKeyDictionary = WeakKeyDictionary()


class ExportedFunction(NamedTuple):
    """One definition; a name may have several, of different versions."""

    start: int  # link-time address
    size: int  # bytes


def exported_functions(image: ElfImage, name: str) -> list[ExportedFunction]:
    """The functions that ``image`` exports as ``name``; none where it has no GNU hash table.

    An indirect function (STT_GNU_IFUNC) is none.

    :raises BadElf: the tables are damaged.
    """
    known = _known.setdefault(image, {})
    if name not in known:
        known[name] = _exported(image, name)
    return known[name]


def _exported(image: ElfImage, name: str) -> list[ExportedFunction]:
    table, symbols, strings = (image.dynamic_value(tag) for tag in (_DT_GNU_HASH, _DT_SYMTAB, _DT_STRTAB))
    if table is None or symbols is None or strings is None:
        return []
    wanted = name.encode("ascii") + b"\0"
    hashed = _hash(wanted[:-1])
    bucket_count, first, bloom_words, _shift = _HEADER.unpack(image.read(table, _HEADER.size))
    if not bucket_count:
        return []
    buckets = table + _HEADER.size + 8 * bloom_words
    chains = buckets + 4 * bucket_count
    index = _word(image, buckets + 4 * (hashed % bucket_count))
    found: list[ExportedFunction] = []
    for _step in range(_LONGEST_CHAIN):
        if index < first:
            break
        value = _word(image, chains + 4 * (index - first))
        if value | 1 == hashed | 1:
            text, info, _other, section, start, size = _SYMBOL.unpack(
                image.read(symbols + _SYMBOL.size * index, _SYMBOL.size))
            if section and info & 15 == _STT_FUNC and image.read(strings + text, len(wanted)) == wanted:
                found.append(ExportedFunction(start, size))
        if value & 1:
            break
        index += 1
    return found


def _word(image: ElfImage, address: int) -> int:
    return int.from_bytes(image.read(address, 4), "little")


def _hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = value * 33 + byte & 0xFFFFFFFF
    return value
