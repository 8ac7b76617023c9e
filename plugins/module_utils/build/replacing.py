# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which functions of a target have to be replaced, and why each.

Those whose code differs, so that callers that hold an inlined copy and clones come by themselves, and those that read a
constant that changes.
"""

from __future__ import annotations

import re
from typing import Iterable

from ..elf.symbols import Symbol
from ..named_tuple import NamedTuple
from .comparison import Difference
from .meaning import Meaning, is_made
from .moving import Left, Moves
from .objects import STB_GLOBAL, STB_LOCAL, STT_FUNC, STT_TLS
from .objects import Symbol as ObjectSymbol
from .refusals import (
    ALIAS,
    AMBIGUOUS,
    ASSEMBLY,
    CONSTANT,
    CONSTRUCTOR,
    GONE,
    IFUNC,
    INITIAL_VALUE,
    RENAMED,
    RUNS_ONCE,
    THREAD_LOCAL,
    Refusals,
)
from .target_library import Ambiguous, TargetLibrary

CHANGED = "changed"
CLONE = "clone of a changed function"
MOVED = "moved from another source file"
READER = "reads a constant that changes"
RELIANT = "relies on a register that a replaced function left alone"

# As the C++ ABI mangles it.
_VTABLE = "_ZTV"
# Sections with such names have symbols for their start and end.
_SET = re.compile(r"[A-Za-z_]\w*")
_CLONE = re.compile(r".*\.(?:part|isra|constprop)\.\d+")


class UnitChange(NamedTuple):
    """A unit of the target that the diff changes: its ``source`` path, its key in the records, and what differs."""

    source: str
    key: str
    difference: Difference

    @property
    def known(self) -> Meaning:
        """By whose names the unit is found in the target."""
        return self.difference.before or self.difference.after

    def find(self, target: TargetLibrary, name: str, symbol: ObjectSymbol) -> Symbol | None:
        """What ``symbol``, with the ``name`` of before the diff, is in the target; result and errors of its find().

        Whether it is static is asked of the unit as it was before the diff.
        """
        before = self.known.functions.get(name) or self.known.variables.get(name) or symbol
        return target.find(self.known, name, before.binding == STB_LOCAL)


class Replaced(NamedTuple):
    """A function of the target to be replaced.

    ``name`` is that after the diff, in the unit ``unit``; ``old`` is its Symbol in the target.
    """

    name: str
    unit: UnitChange
    old: Symbol
    why: str


def functions_to_replace(
    changes: list[UnitChange], unchanged: Iterable[UnitChange], moves: Moves, target: TargetLibrary,
    refusals: Refusals,
) -> list[Replaced]:
    """What has to be replaced.

    :param changes: the units that differ.
    :param unchanged: the other units of the target, with equal objects, whose functions may read constants.
    :param moves: with what the target's units have lost.
    :param refusals: takes what can't be live-patched.
    """
    found: dict[int, Replaced] = {}
    # What is gone from one unit may be another's now.
    added = {name for change in changes for name in change.difference.new
             if change.difference.after.functions[name].binding == STB_GLOBAL}
    for change in changes:
        _refuse_data(change, moves, target, refusals)
        _refuse_sets(change, target, refusals)
        _refuse_code(change, target, added, refusals)
        for name in change.difference.changed:
            symbol = change.difference.after.functions[name]
            if name in change.difference.resolvers or symbol.type != STT_FUNC:
                continue
            why = CLONE if _CLONE.fullmatch(name) else CHANGED
            _add(found, change, name, why, target, refusals)
        for name in change.difference.new:
            lefts = moves.function(name)
            for left in lefts:
                _add(found, change, name, MOVED, target, refusals, left)
            if name in added and not lefts:
                _add(found, change, name, MOVED, target, refusals)
    for source, meaning in moves.vanished:
        _refuse_vanished(source, meaning, meaning.functions, target, added, refusals)
    _add_readers(found, changes, unchanged, target, refusals)
    _refuse_aliases(found, changes, target, refusals)
    if target.image.is_program:
        _refuse_main(found, refusals)
    return sorted(found.values(), key=lambda each: each.old.value)


def _add(found: dict[int, Replaced], change: UnitChange, name: str, why: str, target: TargetLibrary,
         refusals: Refusals, left: Left | None = None) -> None:
    symbol = change.difference.after.functions[name]
    try:
        old = change.find(target, name, symbol) if left is None else target.find(left.meaning, name, left.is_static)
    except Ambiguous as error:
        refusals.add(AMBIGUOUS, name, f"{name} of {change.source} cannot be told apart in {target.image.name}: {error}")
        return
    # Where the target has no such function, the linker has left it out: whoever calls it has it from the patch.
    if old is not None and old.value not in found:
        found[old.value] = Replaced(name, change, old, why)


def _add_readers(
    found: dict[int, Replaced], changes: list[UnitChange], unchanged: Iterable[UnitChange], target: TargetLibrary,
    refusals: Refusals,
) -> None:
    """The functions that read a changed constant, by whatever other constants."""
    shared = {name for change in changes for name in change.difference.changed_constants
              if change.difference.after.variables[name].binding != STB_LOCAL}
    own = {change.key: set(change.difference.changed_constants) for change in changes}
    if not any(own.values()):
        return
    for change in [*changes, *unchanged]:
        meaning = change.difference.after
        affected = own.get(change.key, set()) | shared
        grown = True
        while grown:
            grown = False
            for name, symbol in meaning.variables.items():
                if name in affected or not _refers(meaning, name, affected) or is_made(name):
                    continue
                if not symbol.defined or not meaning.section_of(symbol).is_constant:
                    refusals.add(CONSTANT, name, f"{name} of {change.source} points to a constant that changes, and is"
                                 " writable itself: running processes go on with the old one")
                    continue
                affected.add(name)
                change.difference.changed_constants.setdefault(name, "it points to a constant that changes")
                grown = True
        for name in meaning.functions:
            if _refers(meaning, name, affected) and name not in change.difference.changed:
                parent = name.partition(".cold")[0] if ".cold" in name else name
                _add(found, change, parent, READER, target, refusals)


def _refers(meaning: Meaning, name: str, wanted: set[str]) -> bool:
    symbol = meaning.functions.get(name) or meaning.variables[name]
    if not symbol.defined:
        return False
    section = meaning.section_of(symbol)
    return any(meaning.place(section, relocation).name in wanted for relocation in meaning.relocations(symbol))


def _refuse_aliases(found: dict[int, Replaced], changes: list[UnitChange], target: TargetLibrary, refusals: Refusals,
                    ) -> None:
    """Refuse to replace what is one function in the target by several names, and is several after the diff."""
    for address, each in found.items():
        own = each.old.name.partition("@")[0]
        for other in target.names_at(address):
            if other == own or _is_same_function(each, other, changes):
                continue
            refusals.add(ALIAS, other, f"{other} and {own} are one function in {target.image.name}, and are two after"
                         " the diff; who calls one of them can't be told from who calls the other")


def _is_same_function(each: Replaced, other: str, changes: list[UnitChange]) -> bool:
    """Whether another name of a function has the new code as well."""
    mine = each.unit.difference.after
    symbol = mine.functions[each.name]
    for meaning in [mine, *(change.difference.after for change in changes if change.key != each.unit.key)]:
        # In an object a versioned name has its version with it, and there may be several.
        aliases = [alias for name, alias in meaning.functions.items() if name.partition("@")[0] == other]
        if aliases:
            return any((meaning is mine and (alias.section, alias.value) == (symbol.section, symbol.value))
                       or meaning.digest_of(alias) == mine.digest_of(symbol) for alias in aliases)
    # Units that have not changed have it, or none any more.
    before = each.unit.difference.before
    return before is not None and any(name.partition("@")[0] == other for name in before.functions)


def _refuse_main(found: dict[int, Replaced], refusals: Refusals) -> None:
    for each in found.values():
        if each.old.name == "main":
            refusals.add(RUNS_ONCE, "main", f"main of {each.unit.source} has to be replaced ({each.why}), and running"
                         " processes never call it again")


def _refuse_data(change: UnitChange, moves: Moves, target: TargetLibrary, refusals: Refusals) -> None:
    difference = change.difference
    for name, what in difference.changed_variables.items():
        if difference.after.variables[name].type == STT_TLS:
            refusals.add(THREAD_LOCAL, name, f"{name} of {change.source} is thread-local, and {what}: threads that run"
                         " already have the old one")
        else:
            refusals.add(INITIAL_VALUE, name, f"{name} of {change.source} is writable, and {what}: running processes go"
                         " on with the value that they have")
    for name, what in difference.changed_constants.items():
        if name.startswith(_VTABLE):
            refusals.add(CONSTANT, name, f"{name} of {change.source} is a vtable, and {what}: objects that exist"
                         " already go on with the old one")
        elif difference.after.variables[name].binding != STB_LOCAL and name in target.exported:
            refusals.add(CONSTANT, name, f"{name} of {change.source} is a constant that {target.image.name} exports,"
                         f" and {what}: programs that read it themselves go on with the old one")
    for name, old in difference.replaced_variables.items():
        refusals.add(RENAMED, name, f"{name} of {change.source} is new and seems to take the place of {old}, which is"
                     " gone: it would start anew, and not with the value that running processes have")
    for name in difference.new_variables:
        # A global one is found by its name.
        left = moves.variable(name, difference.after)
        if left is not None and left.meaning is not difference.before and (
                left.is_static or difference.after.variables[name].binding == STB_LOCAL):
            refusals.add(RENAMED, name, f"{name} of {change.source} is new and seems to be {left.name} of"
                         f" {left.source}, which is gone: it would start anew, and not with the value that running"
                         " processes have")
    for name in difference.ambiguous:
        refusals.add(AMBIGUOUS, name, f"{name} of {change.source} may be one of several variables that were there"
                     " before the diff")


def _refuse_sets(change: UnitChange, target: TargetLibrary, refusals: Refusals) -> None:
    """Refuse changes to what code reads as a whole, from where its section starts in the target to where it ends.

    Source: ld(1), "Input Section Example": ``__start_SECNAME`` and ``__stop_SECNAME``.
    """
    difference = change.difference
    what_happens = [(difference.after, name, "is new") for name in difference.new_variables]
    what_happens += [(difference.after, name, "changes") for name in difference.changed_constants]
    if difference.before is not None:
        what_happens += [(difference.before, name, "is gone") for name in difference.gone_variables]
    for meaning, name, what in what_happens:
        symbol = meaning.variables[name]
        section = meaning.section_of(symbol).name if symbol.defined else ""
        if _SET.fullmatch(section) and any(target.has(f"__{end}_{section}") for end in ("start", "stop")):
            refusals.add(CONSTANT, name, f"{name} of {change.source} {what}, and lies in the section {section}, of"
                         f" which {target.image.name} reads all that there is: running processes go on with what was"
                         " there")


def _refuse_code(change: UnitChange, target: TargetLibrary, added: set[str], refusals: Refusals) -> None:
    difference = change.difference
    for name in difference.resolvers:
        refusals.add(IFUNC, name, f"{name} of {change.source} is chosen when a process starts (IFUNC), and is new or"
                     " changes: running processes have chosen already")
    for name in difference.constructors:
        refusals.add(CONSTRUCTOR, name, f"{name} of {change.source} runs when the library is loaded, and is new or"
                     " changes: in running processes it has run already")
    for name in difference.destructors:
        refusals.add(CONSTRUCTOR, name, f"{name} of {change.source} runs when the library is unloaded, and is new:"
                     " running processes would not call it")
    for name in difference.loose_code:
        refusals.add(ASSEMBLY, change.source, f"{change.source} has assembly outside functions (section {name}), and it"
                     " changes")
    if difference.before is not None:
        _refuse_vanished(change.source, difference.before, difference.gone, target, added, refusals)


def _refuse_vanished(source: str, before: Meaning, gone: Iterable[str], target: TargetLibrary, added: set[str],
                     refusals: Refusals) -> None:
    for name in gone:
        if name in target.exported and name not in added and before.functions[name].binding != STB_LOCAL:
            refusals.add(GONE, name, f"{name} of {source} is gone, and {target.image.name} exports it: programs that"
                         " run may call it")
