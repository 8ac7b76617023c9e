# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jumps, not calls, in the code of an ELF file.

A function that ends with a jump to another one (a tail call) leaves no frame
behind.  Every way by which one may lead to another is known, or taken for
possible: direct jumps, jumps through the words that the loader fills in and
through the linker's stubs, and computed jumps, which may lead to any function
whose address code or data of the file hold.  A byte scan finds jumps where
there are none, but never misses one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Callable, Container, Iterable, Iterator, Mapping

from ..abi import PAD_BEFORE
from ..arch.code import computed_jumps, instruction_starts, long_jumps, may_leave, short_jumps, thunks
from ..arch.elf_format import R_ADDRESS
from ..named_tuple import NamedTuple
from .code_addresses import far_addresses, near_addresses
from .slots import (
    CHOSEN,
    chosen_slots,
    imported_slots,
    is_linkage,
    is_thunk_name,
    slot_uses,
    slots_of_own_functions,
)
from .symbols import is_function
from .unwind import DescribedCode

if TYPE_CHECKING:
    from .image import ElfImage, Section

# Stands for wherever a computed jump may lead.
_ANYWHERE = -1


class Jumps(NamedTuple):
    """Which functions of a file its own code may jump to, by the link-time addresses of their first instructions.

    ``targets``: all of them; ``cyclic``: those to which jumps alone may lead back from themselves.  Both may
    hold too many, never too few.
    """

    targets: frozenset[int]
    cyclic: frozenset[int]


def find_jumps(
    image: ElfImage, starts: list[int], trampolines: set[int], words: Mapping[int, int], taken: set[int],
) -> Jumps:
    """What code of a library may jump to.

    :param image: ElfImage.
    :param starts: link-time addresses of the padding of all functions.
    :param trampolines: those of them at which post wrote a trampoline; its own jump does not count.
    :param words: {place: address} for the words that the loader fills with addresses of the file.
    :param taken: the addresses that code and data of the file hold, other than through the symbol table.
    :return: Jumps.
    """
    entries = {start: start + PAD_BEFORE for start in starts}
    entries.update((start + PAD_BEFORE, start + PAD_BEFORE) for start in starts)
    return _Graph(image, entries, trampolines, words, taken).result()


def jumped_imports(image: ElfImage) -> frozenset[str]:
    """The names of imported symbols to which code of ``image`` may jump, not call: a superset."""
    slots = imported_slots(image)
    uses = slot_uses(image, slots)
    functions = _Functions(image, {})
    names = set(uses.jumps)
    computed = False
    wanted = functions.thunks().union(uses.stubs)
    for section in image.code_sections():
        if not is_linkage(section):
            for _place, target in _direct_jumps(image, section, functions, wanted):
                if target in uses.stubs:
                    names.add(uses.stubs[target])
                else:
                    computed = True
    held = set(uses.loads)
    held.update(name for slot, name in slots.items() if slot not in uses.used)
    taken = near_addresses(image) | far_addresses(image)
    held.update(uses.stubs[address] for address in taken if address in uses.stubs)
    if not held <= names and (computed or any(map(is_thunk_name, names)) or functions.any_leaves()):
        names |= held
    return frozenset(names)


def _direct_jumps(
    image: ElfImage, section: Section, functions: _Functions, wanted: Container[int], far: range | None = None,
) -> Iterator[tuple[int, int]]:
    """(address, target) of what looks like a direct jump in a section.

    :param functions: _Functions.
    :param wanted: the targets that count.
    :param far: range of targets that count, too, for jumps that reach far.
    """
    data = image.section_data(section)
    base = section.address
    for place, offset in long_jumps(data):
        target = base + offset
        if target in wanted or (far is not None and target in far):
            yield base + place, target
    for place, offset in short_jumps(data):
        # So little looks like a jump often enough: here it pays to ask whether it is an instruction.
        if base + offset in wanted and functions.may_be_instruction(base + place):
            yield base + place, base + offset


class _Functions:
    """The functions of a file: where code begins that has a name, unwind information or padding.

    A function is known by the address of its first instruction, which its padding leads to as well.
    """

    def __init__(self, image: ElfImage, entries: Mapping[int, int]) -> None:
        """
        :param image: ElfImage.
        :param entries: {address at which a function with padding is entered: its first instruction}.
        """
        self._image = image
        self._entries = entries
        self._imported = imported_slots(image).keys()
        self._sections = sorted(
            (section.address, section.address + section.size) for section in image.code_sections())
        self._ends: dict[int, int] = {}
        described = DescribedCode(image)
        starts = set(described.starts()) | set(entries)
        for symbol in image.symbols() + image.dynamic_symbols():
            if is_function(symbol):
                starts.add(symbol.value)
                self._ends[symbol.value] = max(symbol.value + symbol.size, self._ends.get(symbol.value, 0))
        starts.update(start for start, _end in self._sections)
        # The padding is no function of its own.
        starts.difference_update(function for entry, function in entries.items() if entry != function)
        self._starts = sorted(starts)
        self._described = described
        self._begins: dict[int, set[int] | None] = {}
        self._leaves: dict[int, bool] = {}

    def of(self, address: int) -> int:
        """The function that the code at ``address`` belongs to."""
        start = self._starts[max(0, bisect_right(self._starts, address) - 1)]
        return self._entries.get(start, start)

    def begin_at(self) -> set[int]:
        """The addresses at which functions begin."""
        return set(self._starts).union(self._entries)

    def _extent(self, function: int) -> tuple[int, int, int]:
        """(start, end, limit) of a function; what stands between end and limit has no name."""
        index = bisect_right(self._starts, function)
        section = bisect_right(self._sections, (function, 1 << 64)) - 1
        limit = max(function, self._sections[section][1]) if section >= 0 else function
        if index < len(self._starts):
            limit = min(limit, self._starts[index])
        end = max(self._ends.get(function, 0), (self._described.at(function) or (0, 0))[1])
        return function, min(end, limit) if end > function else limit, limit

    def may_be_instruction(self, address: int) -> bool:
        """False only where the function around ``address`` decodes exactly, and no instruction begins there."""
        function = self.of(address)
        start, end, _limit = self._extent(function)
        if not start <= address < end:
            return True
        if function not in self._begins:
            self._begins[function] = instruction_starts(self._image.read(start, end - start))
        begins = self._begins[function]
        return begins is None or address - start in begins

    def thunks(self) -> set[int]:
        """The functions that only jump to where a register points, a set."""
        begin_at = self.begin_at()
        return {
            section.address + offset for section in self._image.code_sections() if not is_linkage(section)
            for offset in thunks(self._image.section_data(section)) if section.address + offset in begin_at
        }

    def leaves(self, function: int) -> bool:
        """Whether the function may go on in another one by a computed jump."""
        if function not in self._leaves:
            start, end, limit = self._extent(function)
            self._leaves[function] = any(
                may_leave(self._image.read(first, last - first), first, self._imported)
                for first, last in ((start, end), (end, limit)) if first < last)
        return self._leaves[function]

    def any_leaves(self) -> bool:
        """Whether any function may, thunks aside, to which others have to jump first."""
        seen = self.thunks()
        for section in self._image.code_sections():
            if is_linkage(section):
                continue
            for offset in computed_jumps(self._image.section_data(section)):
                function = self.of(section.address + offset)
                if function not in seen:
                    seen.add(function)
                    if self.leaves(function):
                        return True
        return False


class _Graph:
    """Which function may go on in which other one by a jump."""

    def __init__(
        self, image: ElfImage, entries: Mapping[int, int], trampolines: set[int], words: Mapping[int, int],
        taken: set[int],
    ) -> None:
        self._image = image
        self._entries = entries
        self._functions = _Functions(image, entries)
        # From a function to those into which it jumps, wherever.
        self._leads: dict[int, set[int]] = defaultdict(set)
        # From a function to those that jump to where it is entered.
        self._entered: dict[int, set[int]] = defaultdict(set)
        self._computing: set[int] = set()  # functions that jump to a thunk, or to what an IFUNC resolver has chosen
        addresses = taken
        taken = {entries[address] for address in addresses if address in entries}
        taken |= self._read_slots(words)
        # Whoever holds the address of a stub may jump there.
        taken.update(entries[self._stubs[address]] for address in addresses if self._stubs.get(address) in entries)
        self._read_direct_jumps(trampolines)
        self._taken = taken if self._computing or (taken and self._functions.any_leaves()) else set()
        for function in self._taken:
            self._entered[function].add(_ANYWHERE)

    def result(self) -> Jumps:
        """The Jumps."""
        return Jumps(frozenset(self._entered), frozenset(self._cyclic()))

    def _read_slots(self, words: Mapping[int, int]) -> set[int]:
        """Jumps through words that the loader fills; returns the functions whose addresses code reads from them."""
        own = slots_of_own_functions(self._image)
        slots: dict[int, Any] = {place: address for place, address in words.items() if address in self._entries}
        slots.update((place, address) for place, address in own.items() if address in self._entries)
        slots.update(dict.fromkeys(chosen_slots(self._image), CHOSEN))
        slots.update((place, name) for place, name in imported_slots(self._image).items() if is_thunk_name(name))
        uses = slot_uses(self._image, slots)
        self._stubs = uses.stubs
        for target, places in uses.jumps.items():
            for place in places:
                self._jump(place, target)
        tables = {relocation.offset for relocation in self._image.relocations() if relocation.type == R_ADDRESS}
        # A word to which no instruction is seen to refer is read in a way that is not known.
        values = set(uses.loads)
        values.update(address for slot, address in own.items() if slot in tables or slot not in uses.used)
        return {self._entries[value] for value in values if value in self._entries}

    def _jump(self, place: int, target: Any) -> None:
        """Take note of a jump at ``place`` to a function's entry, to one that is chosen, or to a thunk."""
        source = self._functions.of(place)
        function = self._entries.get(target)
        if function is None:
            self._computing.add(source)
        else:
            self._entered[function].add(source)
            self._leads[source].add(function)

    def _read_direct_jumps(self, trampolines: set[int]) -> None:
        wanted = self._functions.begin_at().union(self._stubs)
        known_thunks = self._functions.thunks()
        for section in self._image.code_sections():
            linkage = is_linkage(section)
            for place, target in _direct_jumps(self._image, section, self._functions, wanted, self._code_range()):
                if target in self._entries:
                    if place not in trampolines:
                        self._jump(place, target)
                elif linkage:
                    # From stub to stub.
                    continue
                elif target in self._stubs:
                    self._jump(place, self._stubs[target])
                else:
                    source, function = self._functions.of(place), self._functions.of(target)
                    if source != function:
                        self._leads[source].add(function)
                        if target in known_thunks:
                            self._computing.add(source)

    def _code_range(self) -> range:
        start, end = self._image.text_range
        return range(start, end)

    def _next(self, function: int) -> set[int]:
        if function == _ANYWHERE:
            return self._taken
        follow = self._leads[function]
        if self._taken and (function in self._computing or self._functions.leaves(function)):
            return follow | {_ANYWHERE}
        return follow

    def _cyclic(self) -> Iterator[int]:
        component = _components(list(self._entered), self._next)
        for function, sources in self._entered.items():
            if any(component.get(source) == component[function] for source in sources):
                yield function


def _components(roots: Iterable[int], following: Callable[[int], Iterable[int]]) -> dict[int, int]:
    """{node: its strongly connected component} for all nodes that can be reached (Tarjan's algorithm).

    :param roots: nodes to begin with.
    :param following: function that gives the nodes to which edges lead from one.
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    component: dict[int, int] = {}
    path = []
    for root in roots:
        if root in order:
            continue
        waiting: list[tuple[int, Iterator[int] | None]] = [(root, None)]
        while waiting:
            node, edges = waiting.pop()
            if edges is None:
                order[node] = low[node] = len(order)
                path.append(node)
                edges = iter(following(node))
            for other in edges:
                if other not in order:
                    waiting += [(node, edges), (other, None)]
                    break
                if other not in component:
                    low[node] = min(low[node], low[other])
            else:
                if low[node] == order[node]:
                    while True:
                        member = path.pop()
                        component[member] = node
                        if member == node:
                            break
                elif waiting:
                    before = waiting[-1][0]
                    low[before] = min(low[before], low[node])
    return component
