# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables of two objects are the same although the compiler numbered them anew.

gcc calls the variable ``count`` of a function ``count.5``, and numbers count through the file: a declaration more, and
it is ``count.6``.  The names are matched by stem.  Among several of one stem, constants are matched by their contents,
and all others by size, kind, and who refers to them.
"""

from __future__ import annotations

import re

from .meaning import Meaning, is_made
from .objects import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, STB_LOCAL, Symbol

_NUMBERED = re.compile(r"(.*)\.(\d+)")
# Whether it can be written to; the code models differ in other flags.
_ACCESS = SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR
_CLONE = re.compile(r"\.(?:cold|(?:part|isra|constprop)\.\d+)")


def match_numbered(before: Meaning, after: Meaning) -> tuple[dict[str, str], list[str]]:
    """({name after: name before}, names after that could mean several) for the numbered variables of an object."""
    old = _by_stem(before)
    users_before, users_after = users_of_variables(before), users_of_variables(after)
    renamed: dict[str, str] = {}
    ambiguous: list[str] = []
    for stem, names in _by_stem(after).items():
        candidates = old.get(stem, [])
        if len(names) == 1 == len(candidates):
            renamed[names[0]] = candidates[0]
            continue
        left = list(candidates)
        for name in names:
            # Constants with equal contents are as good as each other.
            equal = [other for other in left if _is_equal_constant(before, other, after, name)]
            if equal:
                renamed[name] = max(equal, key=lambda other: users_after.get(name) == users_before.get(other))
                left.remove(renamed[name])
        for name in [name for name in names if name not in renamed]:
            same = [other for other in left
                    if _kind(after, name) == _kind(before, other) and users_after.get(name) == users_before.get(other)]
            if not same:
                same = [other for other in left if _kind(after, name) == _kind(before, other)
                        and users_after.get(name, frozenset()) & users_before.get(other, frozenset())]
            if len(same) == 1:
                renamed[name] = same[0]
                left.remove(same[0])
            elif same:
                # The order in the file tells, but an author should look at it.
                renamed[name] = same[0]
                left.remove(same[0])
                if len({before.digest_of(before.variables[other]) for other in same}) > 1 or len(same) != len(names):
                    ambiguous.append(name)
    return renamed, ambiguous


def _by_stem(meaning: Meaning) -> dict[str, list[str]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for name, symbol in meaning.variables.items():
        match = _NUMBERED.fullmatch(name)
        if match and symbol.binding == STB_LOCAL and not is_made(name):
            found.setdefault(match.group(1), []).append((int(match.group(2)), name))
    return {stem: [name for _number, name in sorted(names)] for stem, names in found.items()}


def _is_equal_constant(before: Meaning, other: str, after: Meaning, name: str) -> bool:
    kind = _kind(after, name)
    return (kind == _kind(before, other) and after.section_of(after.variables[name]).is_constant
            and after.digest_of(after.variables[name]) == before.digest_of(before.variables[other]))


def _kind(meaning: Meaning, name: str) -> tuple[object, ...]:
    symbol: Symbol = meaning.variables[name]
    section = meaning.section_of(symbol)
    return symbol.size, symbol.type, section.type, section.flags & _ACCESS


def users_of_variables(meaning: Meaning) -> dict[str, frozenset[str]]:
    """{variable: the functions that refer to it}; a clone counts as its function."""
    users: dict[str, set[str]] = {}
    for name, symbol in meaning.functions.items():
        section = meaning.section_of(symbol)
        for relocation in meaning.relocations(symbol):
            place = meaning.place(section, relocation)
            if place.name in meaning.variables:
                users.setdefault(str(place.name), set()).add(_CLONE.sub("", name))
    return {name: frozenset(names) for name, names in users.items()}
