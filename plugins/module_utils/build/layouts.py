# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types that a diff lays out anew, and who would go on with the old layout.

A function whose code stays the same is right for both layouts.  What is not: objects that exist when the livepatch is
applied, code of other libraries and programs that was compiled with the old layout, and functions of the target that
were not compiled again.  So a type may change where only functions that are replaced use it, and where its objects
don't outlive their calls: nothing with static storage leads to one, no exported function takes or returns one, and
some function has it as a local variable.
"""

from __future__ import annotations

import re
from typing import Iterable, Tuple, Union

from ..atomic_file import read_file
from ..errors import BadElf
from ..named_tuple import NamedTuple
from ..printable import some
from .debug_types import Aggregate, DebugTypes, Enumeration, Field, Prototype
from .enumerations import compare_enumerations
from .objects import ObjectFile
from .recording import Unit
from .refusals import LAYOUT, SIGNATURE, Refusals
from .shadows import mentions, with_shadows

_COMPARED = (".debug_info", ".debug_abbrev", ".debug_str", ".rela.debug_info")
# The variants of constructors and destructors: what debug information describes is one for all.
_VARIANT = re.compile(r"([CD])[0-5](?=E)")
_CLONE = re.compile(r"\.(?:cold|part|isra|constprop|localalias).*")
_ANYTHING = ("*void", "*int1")
_SHOWN = 8


class Compared(NamedTuple):
    """A unit of the target: as it was built first (None for a new one) and, where it was compiled again, after."""

    before: Unit | None
    after: Unit | None


class LayoutChange(NamedTuple):
    """A type that changes.

    ``kind`` is ``structure``, ``class``, ``union`` or ``enumeration``; ``differences``, what changes, a phrase each;
    ``units``, the sources it changes in; ``users``, who uses it and is not replaced; ``outliving``, what tells that its
    objects outlive the calls that make them; ``harmless``, that nothing has to be done about it.
    """

    kind: str
    name: str
    differences: list[str]
    units: list[str]
    users: list[str]
    outliving: list[str]
    harmless: bool


class _Changed(NamedTuple):
    kind: str
    old: Aggregate | Enumeration
    differences: list[str]
    harmless: bool


# Units may have different types of the same name.
_Key = Tuple[str, Union[Aggregate, Enumeration]]


def check_layouts(units: Iterable[Compared], replaced: Iterable[str], exported: Iterable[str], refusals: Refusals,
                  ) -> list[LayoutChange]:
    """Refuse types that are laid out anew, variables of another type, and functions that are called in another way.

    :param units: all of the target.
    :param replaced: the names of the functions that are replaced.
    :param exported: the names that the target exports.
    :return: the types that change, those that are allowed or harmless included.
    """
    units = list(units)
    names = {_symbol(name) for name in replaced}
    visible = {_symbol(name) for name in exported}
    changed: dict[_Key, _Changed] = {}
    where: dict[_Key, list[str]] = {}
    types: dict[str, DebugTypes] = {}
    for pair in units:
        if pair.before is None or pair.after is None or pair.before.shadow == pair.after.shadow:
            continue
        before, after = with_shadows((pair.before, pair.after))
        if before.shadow is None or after.shadow is None or _same_debug_information(before.shadow, after.shadow):
            continue
        try:
            old, new = DebugTypes(before.shadow), DebugTypes(after.shadow)
        except BadElf as error:
            refusals.add(LAYOUT, after.name, f"{after.name} cannot be searched for structures that change: {error}")
            continue
        types[before.key] = old
        for name, each in _changed_types(old, new).items():
            changed.setdefault((name, each.old), each)
            where.setdefault((name, each.old), []).append(after.name)
        _check_variables(old, new, after.name, refusals)
        _check_prototypes(old, new, visible, after.name, refusals)
    if not changed:
        return []
    users = _Users(changed, names, visible)
    tokens = [_token(name) for name, _old in changed]
    # What does not name a type has no debug information on it, and need not be compiled to know that.
    named = [(before, after is not None) for before, after in units
             if before is not None and (before.messages or (before.shadow is not None and mentions(before, tokens)))]
    for unit, (_before, again) in zip(with_shadows(before for before, _again in named), named):
        users.search(unit, again, types)
    found = []
    for key, each in sorted(changed.items(), key=lambda item: item[0][0]):
        change = LayoutChange(each.kind, each.old.name, each.differences, where[key], users.left[key],
                              users.outliving_of(key), each.harmless)
        found.append(change)
        if not change.harmless and (change.users or change.outliving):
            refusals.add(LAYOUT, change.name, described(change))
    return found


def described(change: LayoutChange) -> str:
    """A LayoutChange in a sentence."""
    text = f"the {change.kind} {change.name} of {some(change.units, _SHOWN)} changes: " + "; ".join(change.differences)
    if change.users:
        text += f"; it is also used by {some(change.users, _SHOWN)}, which the livepatch does not replace"
    if change.outliving:
        text += f"; objects of the old layout may exist when the livepatch is applied: {some(change.outliving, _SHOWN)}"
    return text


class _Users:
    """Who uses the types that change."""

    def __init__(self, changed: dict[_Key, _Changed], replaced: set[str], exported: set[str]) -> None:
        self.changed = changed
        self.replaced = replaced
        self.exported = exported
        self.left: dict[_Key, list[str]] = {key: [] for key in changed}
        self.outliving: dict[_Key, list[str]] = {key: [] for key in changed}
        self.with_objects: set[_Key] = set()

    def search(self, unit: Unit, again: bool, known: dict[str, DebugTypes]) -> None:
        """Note the uses in a unit.

        :param again: whether it was compiled again.
        :param known: {key: what is known of a unit already}.
        """
        types = known.get(unit.key)
        if unit.shadow is None:
            for key in self.changed:
                _add(self.left[key], f"{unit.name} perhaps, which could not be compiled a second time")
            return
        if types is None:
            data = read_file(str(unit.shadow))
            if not any(_token(name) in data for name, _old in self.changed):
                return
            try:
                types = DebugTypes(str(unit.shadow))
            except BadElf:
                # Reported where it was compared; what was not compiled again has the layout that it had.
                return
        uses = types.uses()
        for key in self.changed:
            name, old = key
            mine = types.aggregates.get(name) or types.enumerations.get(name)
            # Another type of the same name.
            if mine is not None and mine != old:
                continue
            for use in uses.get(name, ()):
                shown = f"{use.where} ({unit.name})"
                if use.is_variable:
                    _add(self.outliving[key], f"the variable {shown}" + ("" if use.is_direct else " leads to them"))
                    continue
                if use.is_interface and _symbol(use.where) in self.exported:
                    _add(self.outliving[key], f"the exported function {shown} takes or returns them")
                if use.is_object:
                    self.with_objects.add(key)
                # Who just hands on a pointer to a type that it does not see is no user.
                if use.is_direct and mine is not None and (not again or _symbol(use.where) not in self.replaced):
                    _add(self.left[key], shown)

    def outliving_of(self, key: _Key) -> list[str]:
        """What tells that objects of a type outlive the calls that make them."""
        found = self.outliving[key]
        old = key[1]
        if isinstance(old, Enumeration):
            if not old.is_typed:
                return ["it has no name, so nothing tells which variables have its values"]
        elif not found and key not in self.with_objects:
            return ["no function has it as a local variable, so they live elsewhere"]
        return found


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _symbol(name: str) -> str:
    """A symbol's name without what tells variants of one function apart."""
    return _VARIANT.sub(r"\1", _CLONE.sub("", name.partition("@")[0]))


def _token(name: str) -> bytes:
    """What the debug information of a unit that has the type must contain."""
    inner = re.search(r"\((?:type )?of ([^)]*)\)$", name)
    plain = inner.group(1) if inner else name.partition("<")[0].rpartition("::")[2]
    return plain.encode()


def _same_debug_information(before: str, after: str) -> bool:
    one, other = ObjectFile(before), ObjectFile(after)
    mine, others = ({section.name: file.contents(section) for section in file.sections if section.name in _COMPARED}
                    for file in (one, other))
    return bool(mine) and mine == others


# ---------------------------------------------------------------- comparison


def _changed_types(old: DebugTypes, new: DebugTypes) -> dict[str, _Changed]:
    found: dict[str, _Changed] = {}
    for name, before in old.aggregates.items():
        after = new.aggregates.get(name)
        if after is not None and after != before:
            differences = _aggregate_differences(before, after)
            if differences:
                found[name] = _Changed(before.kind, before, differences, False)
    for name, values in old.enumerations.items():
        now = new.enumerations.get(name)
        if now is not None and now != values:
            change = compare_enumerations(values, now)
            if change.differences:
                found.setdefault(name, _Changed("enumeration", values, change.differences, change.harmless))
    return found


def _aggregate_differences(before: Aggregate, after: Aggregate) -> list[str]:
    found = []
    if before.size != after.size:
        found.append(f"size {before.size} -> {after.size}")
    elif before.alignment < after.alignment:
        found.append(f"alignment {before.alignment} -> {after.alignment}")
    old, new = _by_name(before.fields), _by_name(after.fields)
    for name, field in old.items():
        other = new.get(name)
        if other is None:
            found.append(f"{name}: {field.placed()} -> gone")
        elif field[1:4] != other[1:4]:
            found.append(f"{name}: {field.placed()} -> {other.placed()}")
        elif not _same_shape(field.shape, other.shape):
            found.append(f"{name}: {field.shape} -> {other.shape} at {field.placed()}")
    found.extend(f"{name}: new -> {field.placed()}" for name, field in new.items() if name not in old)
    slots, now = dict(before.slots), dict(after.slots)
    for name, place in slots.items():
        if name not in now:
            found.append(f"virtual function {name}: {_slot(place)} -> gone")
        elif now[name] != place:
            found.append(f"virtual function {name}: {_slot(place)} -> {_slot(now[name])}")
    found.extend(f"virtual function {name}: new -> {_slot(place)}" for name, place in now.items()
                 if name not in slots)
    return found


def _slot(place: int) -> str:
    return f"slot {place} of the vtable" if place >= 0 else "in the vtable"


def _by_name(fields: Iterable[Field]) -> dict[str, Field]:
    """Fields by name; those without one are told apart by number."""
    found: dict[str, Field] = {}
    for field in fields:
        name = field.name or "(unnamed)"
        number = 1
        while name in found:
            number += 1
            name = f"{field.name or '(unnamed)'} {number}"
        found[name] = field
    return found


def _same_shape(one: str, other: str) -> bool:
    """Whether what has one shape may be taken for the other: any pointer goes as one to nothing particular."""
    return one == other or (one[:1] == other[:1] == "*" and (one in _ANYTHING or other in _ANYTHING))


def _check_variables(old: DebugTypes, new: DebugTypes, unit: str, refusals: Refusals) -> None:
    for name, before in old.variables.items():
        after = new.variables.get(name)
        if after is not None and not _same_shape(before, after):
            refusals.add(LAYOUT, name, f"the variable {name} of {unit} changes from {before} to {after}, and running"
                         " processes have a value in it")
        elif after is not None and old.alignments[name] < new.alignments[name]:
            refusals.add(LAYOUT, name, f"the variable {name} of {unit} is to be aligned to {new.alignments[name]}"
                         " bytes, and in running processes it need not be")


def _check_prototypes(old: DebugTypes, new: DebugTypes, exported: set[str], unit: str, refusals: Refusals) -> None:
    for name, before in old.prototypes.items():
        after = new.prototypes.get(name)
        if after is not None and _symbol(name) in exported and not _same_call(before, after):
            refusals.add(SIGNATURE, name, f"{name} of {unit} is exported, and would be called as {_call(name, after)}"
                         f" instead of {_call(name, before)}: programs that run call it as before")


def _same_call(before: Prototype, after: Prototype) -> bool:
    return (before.is_variadic == after.is_variadic and len(before.parameters) == len(after.parameters)
            and (before.result == "void" or _same_shape(before.result, after.result))
            and all(_same_shape(one, other) for one, other in zip(before.parameters, after.parameters)))


def _call(name: str, prototype: Prototype) -> str:
    parameters = [*prototype.parameters, *(["..."] if prototype.is_variadic else [])]
    return f"{prototype.result} {name}({', '.join(parameters)})"
