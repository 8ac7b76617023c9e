# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The symbol tables of an ELF file, and the versions of its dynamic symbols.

They can hold tens of thousands of entries, so they are decoded with struct, which is some fifty times faster than
pyelftools.  Sources: the System V gABI, chapter 4, and the Linux Standard Base (symbol versions).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    from .image import ElfImage, Section

SHN_UNDEF = 0

# A program with more would take more memory than all that the tool may use.
_MOST_SYMBOLS = 1 << 19

_SYMBOL = struct.Struct("<IBBHQQ")
_VERDEF = struct.Struct("<HHHHIII")
_VERDAUX = struct.Struct("<II")
_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")

_SYMBOL_TYPES = {
    0: "STT_NOTYPE", 1: "STT_OBJECT", 2: "STT_FUNC", 3: "STT_SECTION", 4: "STT_FILE",
    5: "STT_COMMON", 6: "STT_TLS", 10: "STT_GNU_IFUNC",
}
_SYMBOL_BINDINGS = {0: "STB_LOCAL", 1: "STB_GLOBAL", 2: "STB_WEAK", 10: "STB_GNU_UNIQUE"}
_SYMBOL_VISIBILITIES = ("STV_DEFAULT", "STV_INTERNAL", "STV_HIDDEN", "STV_PROTECTED")


class Symbol(NamedTuple):
    """One symbol table entry.

    ``version`` is the symbol version a dynamic symbol is defined under (``V1`` of ``foo@V1``), or None;
    ``hidden`` says that it is not the default version.
    """

    name: str
    value: int
    size: int
    type: str
    binding: str
    visibility: str
    section_index: int
    index: int  # type: ignore[assignment]  # a tuple's method, which nobody calls here
    version: str | None = None
    hidden: bool = False

    @property
    def defined(self) -> bool:
        """Whether the file itself defines the symbol."""
        return self.section_index != SHN_UNDEF


def symbol_label(symbol: Symbol) -> str:
    """The name of a Symbol as version-aware tools write it: ``foo`` for the default version, ``foo@V1`` for others."""
    name, separator, _version = symbol.name.partition("@@")
    if separator:
        return name
    return f"{name}@{symbol.version}" if symbol.version and symbol.hidden else name


def is_function(symbol: Symbol) -> bool:
    """Whether a Symbol is a function that the file defines; an indirect function (STT_GNU_IFUNC) is none."""
    return symbol.type == "STT_FUNC" and symbol.defined


def symbol_section(image: ElfImage, kind: str) -> Section | None:
    """As ElfImage.symbol_section()."""
    for section in image.sections:
        if section.type == kind:
            if section.entry_size != _SYMBOL.size or section.size % _SYMBOL.size:
                raise image.bad(f"is damaged: the entries of {section.name} do not have {_SYMBOL.size} bytes")
            return section
    return None


def _linked_strings(image: ElfImage, section: Section) -> bytes:
    if section.link >= len(image.sections) or image.sections[section.link].type != "SHT_STRTAB":
        raise image.bad(f"is damaged: {section.name} has no string table")
    return image.section_data(image.sections[section.link])


def read_symbols(image: ElfImage, kind: str) -> list[Symbol]:
    """The entries of the section of that type, a list of Symbol, empty when there is none; raises BadElf."""
    section = symbol_section(image, kind)
    if section is None:
        return []
    image.require_few(section.size // _SYMBOL.size, _MOST_SYMBOLS, "symbols")
    names = _linked_strings(image, section)
    versions = _symbol_versions(image, section)
    symbols = []
    for index, (name, info, other, section_index, value, size) in enumerate(
            _SYMBOL.iter_unpack(image.section_data(section))):
        version = hidden = None
        if versions and section_index != SHN_UNDEF:
            version, hidden = versions[index]
        symbols.append(Symbol(
            image.string(names, name),
            value,
            size,
            _SYMBOL_TYPES.get(info & 15) or f"STT_{info & 15}",
            _SYMBOL_BINDINGS.get(info >> 4) or f"STB_{info >> 4}",
            _SYMBOL_VISIBILITIES[other & 3],
            section_index,
            index,
            version,
            bool(hidden),
        ))
    return symbols


def _symbol_versions(image: ElfImage, symbol_section: Section) -> list[tuple[str | None, bool]]:
    """For every symbol of the section its (version name or None, hidden); an empty list without versions."""
    table = next((section for section in image.sections
                  if section.type == "SHT_GNU_versym" and section.link == symbol_section.index), None)
    if table is None:
        return []
    names = _version_definitions(image)
    numbers = struct.unpack(f"<{table.size // 2}H", image.section_data(table)[:table.size // 2 * 2])
    if len(numbers) != symbol_section.size // _SYMBOL.size:
        raise image.bad("is damaged: it does not have one version for every dynamic symbol")
    return [(names.get(number & 0x7FFF), bool(number & 0x8000)) for number in numbers]


def defined_versions(image: ElfImage) -> frozenset[str]:
    """The names of the symbol versions that a library defines."""
    return frozenset(_version_definitions(image).values())


def needed_versions(image: ElfImage) -> dict[str, tuple[str, ...]]:
    """The symbol versions that a file needs of others, {soname: names}; raises BadElf."""
    section = next((section for section in image.sections if section.type == "SHT_GNU_verneed"), None)
    if section is None:
        return {}
    strings = _linked_strings(image, section)
    data = image.section_data(section)
    found = {}
    position = 0
    try:
        for _file in range(min(section.info, len(data) // _VERNEED.size)):
            _version, count, soname, place, following = _VERNEED.unpack_from(data, position)
            names = []
            place += position
            for _name in range(min(count, len(data) // _VERNAUX.size)):
                _hash, _flags, _number, name, step = _VERNAUX.unpack_from(data, place)
                names.append(image.string(strings, name))
                place += step
            found[image.string(strings, soname)] = tuple(names)
            position += following
    except struct.error as error:
        raise image.bad("is damaged: a needed symbol version lies outside its section") from error
    return found


def _version_definitions(image: ElfImage) -> dict[int, str]:
    section = next((section for section in image.sections if section.type == "SHT_GNU_verdef"), None)
    if section is None:
        return {}
    strings = _linked_strings(image, section)
    data = image.section_data(section)
    names = {}
    position = 0
    # sh_info counts the definitions; it also ends a chain that a damaged file made circular.
    for _index in range(min(section.info, len(data) // _VERDEF.size)):
        try:
            _version, flags, number, _count, _hash, first, following = _VERDEF.unpack_from(data, position)
            name, _next = _VERDAUX.unpack_from(data, position + first)
        except struct.error as error:
            raise image.bad("is damaged: a symbol version definition lies outside its section") from error
        # VER_FLG_BASE (1) marks the definition that names the file itself, which is no symbol's version.
        if not flags & 1:
            names[number] = image.string(strings, name)
        if following == 0:
            break
        position += following
    return names
