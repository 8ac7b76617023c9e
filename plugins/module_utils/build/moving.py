# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diff moves from one source file to another, or with a file that it renames.

In the unit that has it then, such a function or variable looks new.  It is in the target all the same.
"""

from __future__ import annotations

from typing import Iterable, Mapping

from ..named_tuple import NamedTuple
from .meaning import Meaning, is_made
from .objects import STB_LOCAL, STT_TLS, ObjectFile
from .recording import Unit
from .shadows import with_shadow


class Left(NamedTuple):
    """A function or variable that one unit has no more: its ``name`` there, the ``source`` path, and all of the unit.

    ``is_static``: whether no other unit could see it.
    """

    name: str
    source: str
    meaning: Meaning

    @property
    def is_static(self) -> bool:
        symbol = self.meaning.functions.get(self.name) or self.meaning.variables[self.name]
        return symbol.binding == STB_LOCAL


class Moves:
    """What units have no more, by name; ``vanished`` are the units that are gone: the source of each, its Meaning."""

    def __init__(self) -> None:
        self.vanished: list[tuple[str, Meaning]] = []
        self._functions: dict[str, list[Left]] = {}
        self._variables: dict[str, list[Left]] = {}

    def leave(self, source: str, meaning: Meaning, functions: Iterable[str], variables: Iterable[str]) -> None:
        """Note what is gone from the unit that had this Meaning."""
        for name in functions:
            self._functions.setdefault(name, []).append(Left(name, source, meaning))
        for name in variables:
            symbol = meaning.variables[name]
            if not is_made(name) and not (
                    symbol.defined and symbol.type != STT_TLS and meaning.section_of(symbol).is_constant):
                self._variables.setdefault(_stem(name), []).append(Left(name, source, meaning))

    def vanish(self, unit: Unit, meaning: Meaning) -> None:
        """Note that the target is made without this unit after the diff."""
        self.vanished.append((unit.name, meaning))
        self.leave(unit.name, meaning, meaning.functions, meaning.variables)

    def function(self, name: str) -> list[Left]:
        """Where there was a function of this name."""
        return self._functions.get(name, [])

    def variable(self, name: str, meaning: Meaning) -> Left | None:
        """The writable variable that one of another unit, with this Meaning, seems to be; gcc may number it anew."""
        mine = meaning.variables[name]
        for left in self._variables.get(_stem(name), ()):
            theirs = left.meaning.variables[left.name]
            if (mine.size, mine.type == STT_TLS) == (theirs.size, theirs.type == STT_TLS):
                return left
        return None


def renamed_units(before: Mapping[str, Unit], after: Mapping[str, Unit]) -> dict[str, Unit]:
    """{key of a unit that only ``after`` has: the one of ``before`` that it was}; both are units by key.

    A build may compile a file in another directory each time.  A file that has another name still defines, for the
    greater part, what it did.
    """
    left = {key: unit for key, unit in before.items() if key not in after}
    added = {key: unit for key, unit in after.items() if key not in before}
    found: dict[str, Unit] = {}
    if not left or not added:
        return found
    for key, unit in added.items():
        same = [old for old, other in left.items() if other.source == unit.source]
        if len(same) == 1:
            found[key] = left.pop(same[0])
    names_left = {key: _defined_by(unit) for key, unit in left.items()}
    for key, unit in added.items():
        if key in found or not names_left:
            continue
        mine = _defined_by(unit)
        best = max(names_left, key=lambda old: len(names_left[old] & mine))
        if 2 * len(names_left[best] & mine) > max(len(names_left[best]), len(mine)):
            found[key] = before[best]
            del names_left[best]
    return found


def _defined_by(unit: Unit) -> set[str]:
    meaning = meaning_of(unit)
    return set() if meaning is None else {_stem(name) for name in [*meaning.functions, *meaning.variables]}


def meaning_of(unit: Unit) -> Meaning | None:
    """The Meaning of a unit that is not compared; None where it cannot be compiled once more, as assembly."""
    unit = with_shadow(unit)
    return None if unit.shadow is None else Meaning(ObjectFile(unit.shadow))


def _stem(name: str) -> str:
    stem, _dot, number = name.rpartition(".")
    return stem if stem and number.isdecimal() else name
