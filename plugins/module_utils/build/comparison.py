# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the shadow objects of one source file before and after a diff."""

from __future__ import annotations

import re

from ..named_tuple import NamedTuple
from .meaning import Meaning, is_made
from .numbered import match_numbered, users_of_variables
from .objects import SHF_TLS, SHF_WRITE, STB_LOCAL, STT_FUNC, STT_GNU_IFUNC, STT_TLS, ObjectFile, Symbol

_AT_LOAD = (".init_array", ".ctors", ".preinit_array")
_AT_UNLOAD = (".fini_array", ".dtors")
_COLD = re.compile(r"(.*)\.cold(?:\.\d+)?")


class Difference(NamedTuple):
    """What differs in one unit; ``before`` is None for a unit that the diff adds.

    Names are those after the diff, but for what is gone. ``changed_constants`` and ``changed_variables`` are {name:
    what is different}, of read-only and of writable data. ``renamed`` leads from names after to names before.
    ``replaced_variables`` are {new variable: the one that it seems to have taken the place of}; ``destructors``, new
    functions that run when the library is unloaded; ``loose_code``, sections whose code belongs to no function;
    ``rebound``, what becomes static, or no longer is.
    """

    before: Meaning | None
    after: Meaning
    changed: list[str]
    new: list[str]
    gone: list[str]
    changed_constants: dict[str, str]
    changed_variables: dict[str, str]
    new_variables: list[str]
    gone_variables: list[str]
    resolvers: list[str]
    constructors: list[str]
    renamed: dict[str, str]
    ambiguous: list[str]
    replaced_variables: dict[str, str]
    destructors: list[str]
    loose_code: list[str]
    rebound: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether both mean the same."""
        return not (self.changed or self.new or self.gone or self.changed_constants or self.changed_variables
                    or self.new_variables or self.gone_variables or self.resolvers or self.constructors
                    or self.destructors or self.loose_code or self.rebound)


def parent_of_cold(name: str) -> str | None:
    """The function that ``name`` is the unlikely part of, or None."""
    match = _COLD.fullmatch(name)
    return match.group(1) if match else None


def compare(before: ObjectFile | None, after: ObjectFile) -> Difference:
    """The Difference between two shadow objects of one source file; without a first one all is new."""
    if before is None:
        new = Meaning(after)
        return Difference(
            None, new, [], [name for name in new.functions if parent_of_cold(name) is None], [], {}, {},
            [name for name in new.variables if not is_made(name)], [],
            [name for name, symbol in new.functions.items() if symbol.type == STT_GNU_IFUNC],
            sorted(_run_at(new, _AT_LOAD)), {}, [], {}, sorted(_run_at(new, _AT_UNLOAD)), sorted(_loose_code(new)), [])
    old = Meaning(before)
    renamed, ambiguous = match_numbered(old, Meaning(after))
    new = Meaning(after, renamed)
    changed = [name for name, symbol in new.functions.items()
               if name in old.functions and old.digest_of(old.functions[name]) != new.digest_of(symbol)]
    added = [name for name in new.functions if name not in old.functions]
    constants, variables, new_variables = _variables(old, new)
    matched = {renamed.get(name, name) for name in new.variables}
    gone_variables = [name for name in old.variables if name not in matched and not is_made(name)]
    loose_before, loose_after = _loose_code(old), _loose_code(new)
    # A part that moved out of its function, or back into it, is the function's own affair.
    for name in changed + added:
        parent = parent_of_cold(name)
        if parent in new.functions and parent in old.functions and parent not in changed:
            changed.append(parent)
    return Difference(
        before=old,
        after=new,
        changed=[name for name in changed if parent_of_cold(name) is None],
        new=[name for name in added if parent_of_cold(name) is None],
        gone=[name for name in old.functions if name not in new.functions and parent_of_cold(name) is None],
        changed_constants=constants,
        changed_variables=variables,
        new_variables=new_variables,
        gone_variables=gone_variables,
        resolvers=_resolvers(old, new),
        constructors=_constructors(old, new),
        renamed={name: other for name, other in renamed.items() if name != other},
        ambiguous=ambiguous,
        replaced_variables=_replaced_variables(old, gone_variables, new, new_variables),
        destructors=sorted(set(_run_at(new, _AT_UNLOAD)) - set(_run_at(old, _AT_UNLOAD))),
        loose_code=sorted(name for name in {**loose_before, **loose_after}
                          if loose_before.get(name) != loose_after.get(name)),
        rebound=_rebound(old, new),
    )


def _rebound(old: Meaning, new: Meaning) -> list[str]:
    before = {**old.functions, **old.variables}
    return [name for name, symbol in {**new.functions, **new.variables}.items()
            if name in before and (before[name].binding == STB_LOCAL) != (symbol.binding == STB_LOCAL)]


def _variables(old: Meaning, new: Meaning) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Changed constants and changed variables, {name: what is different}, and the names of new ones."""
    constants: dict[str, str] = {}
    variables: dict[str, str] = {}
    added = []
    for name, symbol in new.variables.items():
        if is_made(name):
            continue
        other = old.variables.get(new.renamed.get(name, name))
        if other is None:
            added.append(name)
            continue
        what = _data_difference(old, other, new, symbol)
        if what:
            (constants if _is_constant(new, symbol) and _is_constant(old, other) else variables)[name] = what
    return constants, variables, added


def _is_constant(meaning: Meaning, symbol: Symbol) -> bool:
    return symbol.defined and symbol.type != STT_TLS and meaning.section_of(symbol).is_constant


def _data_difference(old: Meaning, before: Symbol, new: Meaning, after: Symbol) -> str:
    """What is different about a variable, or an empty string."""
    if (before.type == STT_TLS) != (after.type == STT_TLS):
        return "it is no longer thread-local" if before.type == STT_TLS else "it becomes thread-local"
    if before.size != after.size:
        return f"its size changes from {before.size} to {after.size} bytes"
    if before.defined and after.defined:
        flags = SHF_WRITE | SHF_TLS
        if old.section_of(before).is_constant != new.section_of(after).is_constant or (
                old.section_of(before).flags & flags != new.section_of(after).flags & flags):
            return "it is no longer constant" if old.section_of(before).is_constant else "it becomes constant"
    if old.digest_of(before) != new.digest_of(after):
        return "its initial value changes"
    return ""


def _resolvers(old: Meaning, new: Meaning) -> list[str]:
    """The indirect functions that are new or whose resolver changes."""
    found = []
    for name, symbol in new.functions.items():
        other = old.functions.get(name)
        types = (symbol.type, other.type if other else None)
        if STT_GNU_IFUNC in types and (
                other is None or types[0] != types[1] or old.digest_of(other) != new.digest_of(symbol)):
            found.append(name)
    return found


def _constructors(old: Meaning, new: Meaning) -> list[str]:
    """The functions that run when the library is loaded, and are new or changed."""
    before, after = _run_at(old, _AT_LOAD), _run_at(new, _AT_LOAD)
    return sorted(name for name, digest in after.items() if before.get(name) != digest)


def _replaced_variables(old: Meaning, gone: list[str], new: Meaning, added: list[str]) -> dict[str, str]:
    """{new variable: one that is gone}, of the same kind and used by the same functions: it was renamed, it seems."""
    found = {}
    users_before, users_after = users_of_variables(old), users_of_variables(new)
    for name in added:
        mine = new.variables[name]
        if _is_constant(new, mine):
            continue
        for other in gone:
            theirs = old.variables[other]
            if (mine.size, mine.type == STT_TLS) == (theirs.size, theirs.type == STT_TLS) and not _is_constant(
                    old, theirs) and users_after.get(name, frozenset()) & users_before.get(other, frozenset()):
                found[name] = other
    return found


def _loose_code(meaning: Meaning) -> dict[str, str]:
    """{section: digest of its code that belongs to no function}, which assembly among the C leaves there."""
    found = {}
    for section in meaning.file.sections:
        functions = [symbol for symbol in section.symbols if symbol.type in (STT_FUNC, STT_GNU_IFUNC) and symbol.size]
        if not section.is_code or not section.size or (functions and section.name != ".text"):
            continue
        parts = []
        end = 0
        for symbol in functions:
            if symbol.value > end:
                parts.append(meaning.digest(section, end, symbol.value - end))
            end = max(end, symbol.value + symbol.size)
        if section.size > end:
            parts.append(meaning.digest(section, end, section.size - end))
        found[section.name] = " ".join(parts)
    return found


def _run_at(meaning: Meaning, names: tuple[str, ...]) -> dict[str, str]:
    """{function: its digest}, of those that the loader calls by the sections of these names."""
    found = {}
    for section in meaning.file.sections:
        if section.name.startswith(names):
            for relocation in section.relocations:
                place = meaning.place(section, relocation)
                name = place.name or section.name
                symbol = meaning.functions.get(name)
                found[name] = meaning.digest_of(symbol) if symbol else ""
    return found
