# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The functions that call several of those that are replaced, themselves or through others.

Without padding a thread is inside only while it is in a function that is replaced or guarded.  In such a caller it may
run an old one first, and a new one then.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Iterable

from ..elf.slots import linkage_stubs, slots_of_own_functions
from .code import Code


def common_callers(code: Code, inside: Iterable[int]) -> list[int]:
    """Those of them that direct calls tell of; what is called through pointers is not known.

    :param code: Code of a file.
    :param inside: link-time addresses of the functions that are replaced or guarded.
    :return: link-time addresses, those nearest to what is replaced first.
    """
    known = list(inside)
    ends = frozenset(known)
    callees = _ways_up(code, known)
    reached = _reached(callees, ends)

    def parts(caller: int) -> list[frozenset[int]]:
        return [frozenset((callee,)) if callee in ends else reached[callee] for callee in callees[caller]]

    return [caller for caller in callees if caller not in ends
            and any(len(one | other) > 1 for one, other in combinations(parts(caller), 2))]


def _ways_up(code: Code, known: list[int]) -> dict[int, set[int]]:
    """{caller: what it calls of that which leads to ``known``}, nearest first; ``known`` takes the callers."""
    stubs = defaultdict(list)
    for stub, function in linkage_stubs(code.image, slots_of_own_functions(code.image)).items():
        stubs[function].append(stub)
    callees: dict[int, set[int]] = defaultdict(set)
    met = set(known)
    for function in known:
        for address in (function, *stubs[function]):
            for place in code.entering(address):
                caller = _owner(code, place)
                if caller is None or caller == function:
                    continue
                callees[caller].add(function)
                if caller not in met:
                    met.add(caller)
                    known.append(caller)
    return callees


def _owner(code: Code, place: int) -> int | None:
    """The start of the function that an instruction belongs to, though it may stand in a part that was moved away."""
    seen = set()
    extent = code.at(place)
    while extent is not None and extent.start not in seen:
        seen.add(extent.start)
        sources = {code.at(source) for source in code.jumps.get(extent.start, ())} - {extent}
        called = extent.start in code.calls or extent.start in code.exported or extent.start in code.taken
        if called or len(sources) != 1:
            return extent.start
        extent = sources.pop()
    return None


def _reached(callees: dict[int, set[int]], ends: frozenset[int]) -> dict[int, frozenset[int]]:
    """{caller: those of ``ends`` that its calls lead to, up to the first on each way}."""
    reached: dict[int, frozenset[int]] = dict.fromkeys(callees, frozenset())
    grown = True
    while grown:
        grown = False
        for caller, called in callees.items():
            found = frozenset().union(*(
                frozenset((callee,)) if callee in ends else reached[callee] for callee in called))
            if found != reached[caller]:
                reached[caller] = found
                grown = True
    return reached
