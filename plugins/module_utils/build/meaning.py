# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a relocatable object means, function by function, whatever numbers the compiler and the assembler gave.

Two objects are compared by it.  A reference to a section and an offset is a reference to the function, the variable or
the string that lies there; a constant without a name is what it contains.
"""

from __future__ import annotations

import hashlib
import re
from typing import Tuple

from ..arch.disassembly import instruction_ends
from ..arch.object_relocations import RELATIVE
from ..named_tuple import NamedTuple
from .objects import (
    SHF_MERGE,
    SHF_STRINGS,
    SHN_COMMON,
    STT_COMMON,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_SECTION,
    STT_TLS,
    ObjectFile,
    ObjectSection,
    Relocation,
    Symbol,
)

# Constants that compilers name, and number as they please: what counts is what is in them.
_MADE = re.compile(
    r"(?:__func__|__FUNCTION__|__PRETTY_FUNCTION__|CSWTCH|C)\.\d+|_ZZ.*E(?:8__func__|12__FUNCTION__|19__PRETTY_FUNCTION__)"
    r"(?:_\d+)?|__func__\..*|__PRETTY_FUNCTION__\..*|switch\.table\..*|__const\..*|\.?L?\.str(?:\.\d+)*|\.L.*")
EXCEPTION_TABLES = ".gcc_except_table"
_POINTER = 8
_DATA = (STT_OBJECT, STT_TLS, STT_COMMON)

Contents = Tuple[object, ...]


class Place(NamedTuple):
    """What a relocation refers to.

    ``name`` is that of the function or variable, None for what has none; ``offset`` is counted from its start, or from
    the start of the section; ``section`` is None for what another file defines.
    """

    name: str | None
    offset: int
    section: ObjectSection | None
    symbol: Symbol


def is_made(name: str) -> bool:
    """Whether the compiler made up the name, of a constant."""
    return _MADE.fullmatch(name) is not None


class Meaning:
    """The meaning of one object.

    Attributes: ``file``; ``functions`` and ``variables``, {name: Symbol}; ``renamed`` is as given to the constructor;
    ``exception_tables``, {index of a section of code: [(section of exception tables, offset)]}.
    """

    def __init__(self, file: ObjectFile, renamed: dict[str, str] | None = None) -> None:
        """
        :param renamed: names of variables to be taken for others: {name here: name in the other object}.
        """
        self.file = file
        self.renamed = renamed or {}
        self.functions: dict[str, Symbol] = {}
        self.variables: dict[str, Symbol] = {}
        self._digests: dict[tuple[int, int, int], str] = {}
        self._ends: dict[int, dict[int, int]] = {}
        for symbol in file.symbols:
            if symbol.defined and symbol.type in (STT_FUNC, STT_GNU_IFUNC):
                self.functions[symbol.name] = symbol
            elif (symbol.defined or symbol.section == SHN_COMMON) and symbol.type in _DATA:
                self.variables[symbol.name] = symbol
        self.exception_tables = self._find_exception_tables()

    def _find_exception_tables(self) -> dict[int, list[tuple[ObjectSection, int]]]:
        """In .eh_frame the reference to a function is followed by that to its exception table."""
        tables: dict[int, list[tuple[ObjectSection, int]]] = {}
        for section in self.file.sections:
            if section.name != ".eh_frame":
                continue
            code = None
            for relocation in section.relocations:
                symbol = self.file.symbols[relocation.symbol]
                if not symbol.defined:
                    continue
                other = self.file.sections[symbol.section]
                if other.is_code:
                    code = other.index
                elif other.name.startswith(EXCEPTION_TABLES) and code is not None:
                    tables.setdefault(code, []).append((other, symbol.value + relocation.addend))
        return tables

    # ---------------------------------------------------------- references

    def section_of(self, symbol: Symbol) -> ObjectSection:
        """The section that a defined symbol lies in."""
        return self.file.sections[symbol.section]

    def relocations(self, symbol: Symbol) -> list[Relocation]:
        """Those within a function or variable."""
        if not symbol.defined:
            return []
        return [relocation for relocation in self.section_of(symbol).relocations
                if symbol.value <= relocation.offset < symbol.value + max(symbol.size, 1)]

    def end_of_instruction(self, section: ObjectSection, offset: int) -> int:
        """The offset behind the instruction of a section that has a field at ``offset``."""
        if section.index not in self._ends:
            self._ends[section.index] = instruction_ends(
                self.file.contents(section), [relocation.offset for relocation in section.relocations])
        return self._ends[section.index].get(offset, offset + 4)

    def place(self, section: ObjectSection, relocation: Relocation) -> Place:
        """What a relocation of ``section`` refers to."""
        symbol = self.file.symbols[relocation.symbol]
        from_end = 0
        if relocation.kind in RELATIVE:
            from_end = (self.end_of_instruction(section, relocation.offset) if section.is_code
                        else relocation.offset + relocation.size) - relocation.offset
        if not symbol.defined:
            return Place(symbol.name, relocation.addend + from_end, None, symbol)
        there = self.file.sections[symbol.section]
        if symbol.type != STT_SECTION and not (symbol.type == STT_NOTYPE and symbol.name.startswith(".L")):
            return Place(symbol.name, relocation.addend + from_end, there, symbol)
        if relocation.kind in RELATIVE and section.name.startswith(EXCEPTION_TABLES):
            # clang has a pointer without a name there, among data.
            owner = self.owner(there, symbol.value + relocation.addend)
            return Place(owner.name if owner else None, symbol.value + relocation.addend, there, owner or symbol)
        if relocation.kind in RELATIVE and not section.is_code:
            # In a table of distances, which are from where the table begins.
            owner = self.owner(there, symbol.value)
            return Place(owner.name if owner else None, relocation.addend, there, owner or symbol)
        offset = symbol.value + relocation.addend + from_end
        owner = self.owner(there, offset)
        if owner is None:
            return Place(None, offset, there, symbol)
        return Place(owner.name, offset - owner.value, there, owner)

    def owner(self, section: ObjectSection, offset: int) -> Symbol | None:
        """The function or variable that lies at an offset of a section, or None."""
        best = None
        for symbol in section.symbols:
            if symbol.value > offset:
                break
            if symbol.type in (STT_FUNC, STT_GNU_IFUNC, *_DATA):
                best = symbol
        return best

    # ------------------------------------------------------------ contents

    def reference(self, section: ObjectSection, relocation: Relocation) -> Contents:
        """What a relocation means, to be compared with one of another object."""
        place = self.place(section, relocation)
        kind = relocation.kind
        there = place.section
        if there is None:
            return (kind, "external", place.name, place.offset)
        if place.name is not None and not is_made(place.name):
            return (kind, "symbol", self.renamed.get(place.name, place.name), place.offset)
        if there.flags & SHF_MERGE:
            offset = place.offset + (place.symbol.value if place.name is not None else 0)
            return (kind, *self._merged(there, offset))
        if place.name is not None:
            return (kind, "contents", self.digest_of(place.symbol), place.offset)
        if section.name.startswith(EXCEPTION_TABLES):
            return (kind, "contents", self.digest(there, place.offset, _POINTER))
        return (kind, "contents", self.digest(there, 0, there.size), place.offset)

    def _merged(self, section: ObjectSection, offset: int) -> Contents:
        data = self.file.contents(section)
        width = section.entry_size or 1
        if section.flags & SHF_STRINGS:
            end = offset
            while any(data[end:end + width]):
                end += width
            return ("string", width, data[offset:end])
        start = offset - offset % width
        return ("constant", data[start:start + width], offset - start)

    def digest_of(self, symbol: Symbol) -> str:
        """A digest of a function or variable: equal ones mean the same."""
        if not symbol.defined:
            return f"common {symbol.size}"
        section = self.section_of(symbol)
        digest = self.digest(section, symbol.value, symbol.size)
        if symbol.type not in (STT_FUNC, STT_GNU_IFUNC):
            return digest
        tables = self.exception_tables.get(section.index, [])
        return ":".join([digest, *(self._exception_table(table, offset) for table, offset in tables)])

    def _exception_table(self, table: ObjectSection, offset: int) -> str:
        starts = sorted({start for tables in self.exception_tables.values()
                         for other, start in tables if other.index == table.index})
        end = next((start for start in starts if start > offset), table.size)
        return self.digest(table, offset, end - offset)

    def digest(self, section: ObjectSection, start: int, size: int) -> str:
        """A digest of a part of a section."""
        key = (section.index, start, size)
        if key not in self._digests:
            # A constant may lead to itself; all that differs is then found on the way.
            self._digests[key] = "itself"
            data = bytearray(self.file.contents(section)[start:start + size])
            references = []
            for relocation in section.relocations:
                if start <= relocation.offset < start + size:
                    place = relocation.offset - start
                    data[place:place + relocation.size] = bytes(len(data[place:place + relocation.size]))
                    references.append((place, self.reference(section, relocation)))
            digest = hashlib.sha256(bytes(data))
            digest.update(repr((section.type, section.flags & 7, size, references)).encode())
            self._digests[key] = digest.hexdigest()
        return self._digests[key]
