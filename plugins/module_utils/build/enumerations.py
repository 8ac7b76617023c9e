# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an enumeration's values mean before and after a diff.

Processes hold values, and not names.  So a value must go on meaning what it meant: one of its names has to stay.  What
counts the other constants is no value that a variable has, and may grow.
"""

from __future__ import annotations

import re

from ..named_tuple import NamedTuple
from .debug_types import Enumeration

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# A count is called COLORS, NUM_COLORS, COLOR_MAX or _COLOR_LAST.  Other words, such as END, name values as often.
_AT_THE_START = {"count", "n", "nr", "num", "max"}
_AT_THE_END = {"cnt", "count", "max", "sentinel"}


class EnumerationChange(NamedTuple):
    """``differences``, a phrase each; ``harmless``, that no value which a process may have means something else."""

    differences: list[str]
    harmless: bool


def compare_enumerations(before: Enumeration, after: Enumeration) -> EnumerationChange:
    """What differs between two versions of an enumeration."""
    old, new = dict(before.values), dict(after.values)
    counts = _grown_count(before, after)
    differences = [f"{name}: {value} -> {new.get(name, 'gone')}" + (
        " (a count: what a process has allocated by it keeps its size)" if name == counts else "")
        for name, value in old.items() if new.get(name) != value]
    differences.extend(f"{name}: new -> {value}" for name, value in new.items() if name not in old)
    if before.size != after.size:
        return EnumerationChange([f"size {before.size} -> {after.size}", *differences], False)
    return EnumerationChange(differences, not any(
        _means_something_else(value, before, after) for name, value in old.items() if name != counts))


def _means_something_else(value: int, before: Enumeration, after: Enumeration) -> bool:
    old, new = ({name for name, its in each.values if its == value} for each in (before, after))
    # A number with a name, such as the size of a buffer, may change; nobody's variable has that type.
    return not old & new and (before.is_typed or after.is_typed or bool(new))


def _grown_count(before: Enumeration, after: Enumeration) -> str | None:
    """The last constant, if it counts the others, and there are more of them now."""
    if not before.values or not after.values or before.values[-1][0] != after.values[-1][0]:
        return None
    name, old = before.values[-1]
    new = after.values[-1][1]
    is_highest = all(value < highest for values, highest in ((before.values[:-1], old), (after.values[:-1], new))
                     for _name, value in values)
    return name if (_is_called_a_count(name, before.name) and is_highest
                    and new - old == len(after.values) - len(before.values) > 0) else None


def _is_called_a_count(name: str, enumeration: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    singular = enumeration.rpartition("::")[2].lower()
    return name.startswith("_") or name.lower() in (f"{singular}s", f"{singular}es") or (
        len(words) > 1 and (words[0] in _AT_THE_START or words[-1] in _AT_THE_END)) or words == ["count"]
