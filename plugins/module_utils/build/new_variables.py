# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the metadata say of the variables that a livepatch brings along: a name that lasts, and the type.

gcc calls the variable ``count`` of a function ``count.5``, and the number is another one in the next build; clang calls
it ``function.count``.  Its name across builds, ``parser.c/function()::count``, comes from the debug information.
"""

from __future__ import annotations

import hashlib
import os
import re
from fnmatch import fnmatchcase
from typing import Any, Sequence

from ..errors import UlpError
from ..livepatch.new_data import ANEW, WORD_SIZE, NewVariable, Word
from ..livepatch.reference import FILE_SEPARATOR
from .debug_types import DebugTypes
from .extraction import Brought
from .numbered import users_of_variables
from .objects import SHN_COMMON, STB_LOCAL, STT_TLS
from .recording import Unit
from .replacing import UnitChange

_NUMBERED = re.compile(r"(.+)\.\d+")
_OF_FUNCTION = "()::"
# As the C++ ABI mangles names, and those of what guards a static object of a function.
_MANGLED, _GUARD = "_Z", "_ZGV"
_LENGTH = re.compile(r"\d{1,6}")
_THREAD_LOCAL = "it is thread-local"
_COMMON = "it is a common symbol, which -fno-common avoids"
_SEVERAL = "several variables have that name"


def new_variables(
    brought: Sequence[Brought], changes: Sequence[UnitChange], units: dict[str, Unit], tree: str,
    addresses: dict[str, int], anew: Sequence[str],
) -> tuple[NewVariable, ...]:
    """What the metadata hold, by name.

    :param brought: as they were extracted.
    :param changes: the units that they are from.
    :param units: {key: recording.Unit}.
    :param tree: where the source was built.
    :param addresses: {symbol: its link-time address in the patch library}.
    :param anew: names, or patterns of them, of those that are to start anew in each process.
    """
    found: dict[str, NewVariable] = {}
    by_key = {change.key: change for change in changes}
    types: dict[str, dict[str, str]] = {}
    for each in brought:
        if each.key not in types:
            types[each.key] = _types_of(units[each.key])
        variable = _described(each, by_key[each.key], types[each.key], addresses)
        if variable.type and each.symbol.binding == STB_LOCAL:
            # Its name has that of the source file without the directory, as symbol tables have.
            place = os.path.relpath(units[each.key].source, tree)
            variable = variable._replace(type=hashlib.sha256(f"{place} {variable.type}".encode()).hexdigest())
        if any(fnmatchcase(variable.name, pattern) or fnmatchcase(_plain(variable.name), pattern) for pattern in anew):
            variable = variable._replace(start=ANEW)
        if variable.name in found:
            variable = variable._replace(words=(), obstacle=_SEVERAL)
        found[variable.name] = variable
    return tuple(found[name] for name in sorted(found))


def what_becomes(variable: dict[str, Any]) -> str:
    """What becomes of a new variable, of ``variables`` in the report, where an earlier livepatch has brought it."""
    if variable["start"] == ANEW:
        return "a new variable, which starts anew in each process"
    if variable["obstacle"]:
        return f"a new variable; refused where an earlier livepatch has brought it ({variable['obstacle']})"
    return "a new variable; goes on where an earlier livepatch has brought it"


def _plain(name: str) -> str:
    """The name as the source has it."""
    return name.rpartition(FILE_SEPARATOR)[2].rpartition(_OF_FUNCTION)[2]


def _types_of(unit: Unit) -> dict[str, str]:
    try:
        return DebugTypes(str(unit.shadow)).fingerprints()
    except UlpError:
        # Built without debug information: names and sizes have to do.
        return {}


def _described(
    brought: Brought, change: UnitChange, types: dict[str, str], addresses: dict[str, int],
) -> NewVariable:
    symbol = brought.symbol
    name = symbol.name
    is_local = symbol.binding == STB_LOCAL
    ambiguous = False
    if is_local:
        name, ambiguous = _lasting(name, change, types)
    words = tuple(sorted(Word(addresses[word], addend) for word, addend in brought.words.items() if word in addresses))
    obstacles = list(brought.obstacles)
    if symbol.type == STT_TLS:
        obstacles.append(_THREAD_LOCAL)
    elif symbol.section == SHN_COMMON:
        obstacles.append(_COMMON)
    if ambiguous:
        obstacles.append(_SEVERAL)
    if any(word.slot % WORD_SIZE for word in words):
        obstacles.append("a pointer to it lies where no word can be filled in one store")
    if obstacles:
        words = ()
    elif not words:
        obstacles.append("no code that was linked refers to it")
    return NewVariable(
        f"{change.source}{FILE_SEPARATOR}{name}" if is_local else name, addresses.get(brought.label, 0), symbol.size,
        _type_of(name, types), words, "; ".join(dict.fromkeys(obstacles)))


def _type_of(name: str, types: dict[str, str]) -> str:
    """The digest of a variable's type; "" if it is not known, or may be that of another."""
    if name in types:
        return types[name]
    if not name.startswith(_MANGLED) or name.startswith(_GUARD):
        return ""
    # C++ has a mangled name behind the namespaces or, of one that no other file sees, that of the source.
    names = {name, _source_name(name)}
    found = {digest for known, digest in types.items() if known.rpartition("::")[2] in names}
    return found.pop() if len(found) == 1 else ""


def _source_name(mangled: str) -> str:
    """The last name within a mangled one: each has its length before it (Itanium C++ ABI, 5.1.3)."""
    name, position = "", len(_MANGLED)
    while match := _LENGTH.search(mangled, position):
        position = match.end() + int(match.group())
        name = mangled[match.end():position]
    return name


def _lasting(name: str, change: UnitChange, types: dict[str, str]) -> tuple[str, bool]:
    """(the name of a static variable that the next build has as well, whether it may be that of another one)."""
    meaning = change.difference.after
    if name in types:
        return name, False
    function, _dot, rest = name.partition(".")
    if rest and f"{function}{_OF_FUNCTION}{rest}" in types:
        return f"{function}{_OF_FUNCTION}{rest}", False
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return name, False
    stem = match.group(1)
    known = [each for each in types if each.endswith(f"{_OF_FUNCTION}{stem}")]
    if len(known) == 1:
        return known[0], False
    users = users_of_variables(meaning).get(name, frozenset())
    used = [each for each in known if each.partition(_OF_FUNCTION)[0] in users]
    if len(used) == 1:
        return used[0], False
    alike = [other for other in meaning.variables if _NUMBERED.fullmatch(other) and other.rpartition(".")[0] == stem]
    return stem, len(alike) > 1
