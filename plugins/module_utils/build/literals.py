# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the strings of a target lie that have no name.

Programs compare such strings by their addresses (``static const char *const unset = "unset"; if (name == unset)``), so
new code has to use those of the target.  A linker merges them, and no symbol tells where they went; but the code and
data that used them before the diff do, as they were linked.
"""

from __future__ import annotations

import struct
from typing import Iterator, Tuple

from ..arch.object_relocations import FROM_GOT, NEAR, SHORT_ADDRESSES, WORD
from ..errors import BadElf
from ..livepatch.binding import ADDRESS
from .comparison import parent_of_cold
from .meaning import Meaning, is_made
from .objects import SHF_MERGE, SHF_STRINGS, STT_SECTION, ObjectSection, Relocation
from .objects import Symbol as ObjectSymbol
from .replacing import UnitChange
from .target_library import Ambiguous, Reference, TargetLibrary

# The bytes in a character, and the characters.
_String = Tuple[int, bytes]
# How far the code of a function may lie behind its symbol, which `ulp post` moves into the padding.
_MOVED = (0, 14, 16)
_SHOWN = 20


class Literals:
    """The strings of one target."""

    def __init__(self, target: TargetLibrary) -> None:
        self.target = target
        self._relative: dict[int, int] | None = None
        self._units: dict[str, dict[_String, int]] = {}

    def reference(self, change: UnitChange, meaning: Meaning, section: ObjectSection, relocation: Relocation,
                  ) -> Reference | None:
        """The target's string that a relocation refers to; None: it is no string, or one that the unit had not.

        :param meaning: that of the object with the relocation.
        """
        found = _string(meaning, section, relocation)
        if found is None and relocation.kind == FROM_GOT:
            found = _large_string(change.difference.after, meaning, section, relocation)
        if found is None or change.difference.before is None:
            return None
        string, distance = found
        if change.key not in self._units:
            self._units[change.key] = dict(self._strings(change, change.difference.before))
        address = self._units[change.key].get(string)
        if address is None:
            return None
        return Reference(ADDRESS, _shown(string), "", address, distance)

    def _strings(self, change: UnitChange, before: Meaning) -> Iterator[tuple[_String, int]]:
        known: set[_String] = set()
        for name, symbol in [*before.functions.items(), *before.variables.items()]:
            wanted = []
            if not symbol.defined:
                continue
            section = before.section_of(symbol)
            for relocation in before.relocations(symbol):
                found = _string(before, section, relocation)
                if found is not None and found[0] not in known:
                    wanted.append((found[0], relocation, found[1] - _from_end(before, section, relocation)))
            if not wanted:
                continue
            for base in self._places(change, name, symbol):
                for string, relocation, distance in wanted:
                    address = self._linked(base + relocation.offset - symbol.value, relocation)
                    if string not in known and address is not None and self._is_there(string, address - distance):
                        known.add(string)
                        yield string, address - distance

    def _places(self, change: UnitChange, name: str, symbol: ObjectSymbol) -> list[int]:
        try:
            found = change.find(self.target, name, symbol)
        except Ambiguous:
            return []
        return [] if found is None else [found.value + moved for moved in _MOVED]

    def _linked(self, place: int, relocation: Relocation) -> int | None:
        """The address that the target has at a place; that of something near, counted from there."""
        image = self.target.image
        try:
            if relocation.kind in NEAR:
                return place + int(struct.unpack("<i", image.read(place, 4))[0])
            if relocation.kind in SHORT_ADDRESSES:
                return int.from_bytes(image.read(place, 4), "little")
            if relocation.kind == WORD:
                if self._relative is None:
                    self._relative = image.relative_addresses()
                if place in self._relative:
                    return self._relative[place]
                return int.from_bytes(image.read(place, 8), "little") if image.is_program else None
        except BadElf:
            pass
        return None

    def _is_there(self, string: _String, address: int) -> bool:
        width, text = string
        try:
            return self.target.image.read(address, len(text) + width) == text + bytes(width)
        except BadElf:
            return False


def _shown(string: _String) -> str:
    """A name for reports."""
    text = string[1].replace(b"\0", b"").decode("ascii", "replace")
    return '"' + "".join(each if each.isprintable() and each.isascii() else "?" for each in text[:_SHOWN]) + '"'


def _string(meaning: Meaning, section: ObjectSection, relocation: Relocation) -> tuple[_String, int] | None:
    """The string without a name that a relocation refers to, and how far from its start.

    Code that goes through a string has addresses behind its end, and before its start: what counts is the label that
    they are counted from.  Assemblers keep that, unless the distance is 0.
    """
    if relocation.kind not in (*NEAR, *SHORT_ADDRESSES, WORD, FROM_GOT):
        return None
    symbol = meaning.file.symbols[relocation.symbol]
    if not symbol.defined or not (symbol.type == STT_SECTION or is_made(symbol.name)):
        return None
    there = meaning.section_of(symbol)
    if there.flags & (SHF_MERGE | SHF_STRINGS) != SHF_MERGE | SHF_STRINGS:
        return None
    start, distance = symbol.value, relocation.addend + _from_end(meaning, section, relocation)
    if symbol.type == STT_SECTION:
        start, distance = start + distance, 0
    data = meaning.file.contents(there)
    width = there.entry_size or 1
    if not 0 <= start < len(data):
        return None
    end = start
    while any(data[end:end + width]):
        end += width
    return (width, bytes(data[start:end])), distance


def _large_string(first: Meaning, meaning: Meaning, section: ObjectSection, relocation: Relocation,
                  ) -> tuple[_String, int] | None:
    """The same of code for the medium code model, for which gcc puts strings and numbers into one section.

    :param first: the same unit, compiled for the small code model: there the function has what is a string marked.
    """
    symbol = meaning.file.symbols[relocation.symbol]
    owner = meaning.owner(section, relocation.offset)
    if owner is None or not symbol.defined or not (symbol.type == STT_SECTION or is_made(symbol.name)):
        return None
    start, distance = symbol.value, relocation.addend
    if symbol.type == STT_SECTION:
        start, distance = start + distance, 0
    if start < 0 or meaning.section_of(symbol).is_code:
        return None
    there = bytes(meaning.file.contents(meaning.section_of(symbol))[start:])
    function = parent_of_cold(owner.name) or owner.name
    strings: set[_String] = set()
    numbers = []
    for name, part in first.functions.items():
        if function not in (name, parent_of_cold(name)) or not part.defined:
            continue
        for other in first.relocations(part):
            code = first.section_of(part)
            found = _string(first, code, other)
            place = first.place(code, other)
            if found is not None:
                strings.add(found[0])
            elif place.section is not None and place.section.is_constant and not place.section.is_code:
                at = place.offset + (place.symbol.value if place.name is not None else 0)
                numbers.append(bytes(first.file.contents(place.section)[max(at, 0):]))
    ended = {string: string[1] + bytes(string[0]) for string in strings}
    fitting = [string for string, text in ended.items()
               if there.startswith(text) and not any(number.startswith(text) for number in numbers)]
    return (fitting[0], distance) if len(fitting) == 1 else None


def _from_end(meaning: Meaning, section: ObjectSection, relocation: Relocation) -> int:
    if relocation.kind not in NEAR:
        return 0
    return meaning.end_of_instruction(section, relocation.offset) - relocation.offset
