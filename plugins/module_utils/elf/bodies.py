# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code that belongs to some functions of a program.

A program's own frames are on every stack, so a thread counts as inside only
while it executes a function that is replaced.  To such a function belongs all
that it leads to by jumps: the part that the compiler moved away because it is
seldom executed (``foo.cold``), and any function in which it goes on by a tail
call, with no frame of its own left.  A function that ends with a call of one
that never returns has its return address right behind its last byte.

Sources: LSB Core, chapter 10.6 (.eh_frame tells where functions begin and end).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Collection, Iterable, Iterator, Sequence
from weakref import WeakKeyDictionary

from ..abi import PAD_BEFORE, PAD_ENTRY
from ..arch.code import (
    calls,
    indirect_jumps,
    instruction_starts,
    jumps_through_words,
    long_jumps,
    may_leave,
    short_jumps,
)
from ..errors import BadElf, NotPatchable
from ..named_tuple import NamedTuple
from .nameless_parts import nameless_parts
from .patchable import unpadded_function
from .ranges import joined
from .slots import imported_slots, linkage_stubs, slots_of_own_functions
from .symbols import is_function
from .unwind import DescribedCode

if TYPE_CHECKING:
    from .image import ElfImage
    from .patchable import PatchableFunction

# What compilers call the parts of a function that they moved away: gcc, and clang with -fsplit-machine-functions or
# -fbasic-block-sections.
_MOVED_PART = re.compile(r"\.(?:cold|eh|__part)(?=\.|$)")


class Bodies(NamedTuple):
    """Code of a program, by link-time addresses in bytes.

    ``ranges``: (start, end), ascending and disjoint, each with the byte behind the function; ``jumped``: where jumps
    in them lead to; ``anywhere``: whether one leads where a register points, and so perhaps to any function.
    """

    ranges: tuple[tuple[int, int], ...]
    jumped: frozenset[int]
    anywhere: bool = False

    def hold(self, address: int) -> bool:
        """Whether ``address`` lies in one of the ranges."""
        return _containing(self.ranges, address) is not None

    def lead_to(self, address: int) -> bool:
        """Whether one of the jumps leads, or may lead, to the function at ``address``, or to its padding."""
        return self.anywhere or address in self.jumped or address - PAD_BEFORE in self.jumped


_COMPILE_IT = f"compile it with -fpatchable-function-entry={PAD_BEFORE + PAD_ENTRY},{PAD_BEFORE}"


def bodies(
    image: ElfImage, functions: list[PatchableFunction], roots: Iterable[int], remedy: str = _COMPILE_IT,
) -> Bodies:
    """The code of the functions at ``roots``, and of all that jumps lead to from there.

    A function without padding may be among it.  A thread that enters by it is not seen to enter, and
    while it is in there it keeps the versions that it has.

    :param image: ElfImage of the program.
    :param functions: what patchable.patchable_functions() gave for it.
    :param roots: link-time addresses of functions.
    :param remedy: what to do about a function that threads could come back by, as words.
    :return: Bodies.
    :raises NotPatchable: nothing tells where one of the functions ends, or threads could come back to them by a
        function without padding.
    """
    gathered = _gather(image, functions, roots)
    for start, target in _ways_back(gathered):
        label = gathered.extents.label
        raise NotPatchable(
            f"{image.name}: {label(start)}, to which a function that is replaced jumps, has no padding and leads to"
            f" {label(target)}, so that threads could come there unseen; {remedy}", [])
    return gathered.bodies


def reached_code(image: ElfImage, functions: list[PatchableFunction], roots: Iterable[int]) -> Bodies:
    """As bodies(), whether or not threads could come back."""
    return _gather(image, functions, roots).bodies


def entries_to_guard(image: ElfImage, roots: Iterable[int]) -> set[int]:
    """The functions to hook as well, so that no thread comes unseen to those that are replaced.

    :param image: ElfImage of a file without padding.
    :param roots: link-time addresses of the functions that are hooked anyway.
    :return: link-time addresses; empty: those suffice.
    :raises NotPatchable: nothing tells where one of the functions ends.
    """
    hooked = set(roots)
    guards: set[int] = set()
    while True:
        functions = [unpadded_function(image, address) for address in sorted(hooked | guards)]
        more = {start for start, _target in _ways_back(_gather(image, functions, hooked | guards))}
        if not more:
            return guards
        guards |= more


class _Gathered(NamedTuple):
    """What belongs to some functions: the extents that were ``found`` one by one, and the ``bodies`` they make."""

    code: _Code
    extents: _Extents
    found: set[tuple[int, int]]
    bodies: Bodies


def _gather(image: ElfImage, functions: list[PatchableFunction], roots: Iterable[int]) -> _Gathered:
    code = _code_of(image)
    extents = _Extents(code, functions)
    found: set[tuple[int, int]] = set()
    jumped: set[int] = set()
    waiting = [extents.required(root, "the function") for root in sorted(roots)]
    while waiting:
        start, end = extent = waiting.pop()
        if extent in found:
            continue
        found.add(extent)
        waiting.extend(extents.moved_parts(start))
        ways = code.ways_out(start, end)
        if ways.indirect:
            # As that of a switch: it may lead to a part that was moved away as well.
            waiting.extend(extents.nameless(found, ways.indirect))
        for target in ways.jumps:
            jumped.add(target)
            # In what cannot be decoded, most of what looks like a jump is none.
            reached = extents.reached(target, required=ways.decoded)
            if reached is not None:
                waiting.append(reached)
    ranges = tuple(joined((start, min(end + 1, image.end_of_segment(start))) for start, end in found))
    # A switch of a program at a fixed address can't be told from other jumps through a table of addresses.
    anywhere = any(code.may_leave(start, end) for start, end in found)
    return _Gathered(code, extents, found, Bodies(ranges, frozenset(jumped), anywhere))


def _ways_back(gathered: _Gathered) -> Iterator[tuple[int, int]]:
    """Functions whose entry is not seen, each with one to which it leads and which is; link-time addresses.

    A thread that calls such a function is inside already when it comes to what is replaced.  It would keep the old
    versions for ever, and between two calls nobody could tell.
    """
    code, extents = gathered.code, gathered.extents
    for entry in sorted(gathered.found):
        if not extents.is_unseen(entry[0]):
            continue
        seen: set[tuple[int, int]] = set()
        waiting = [entry]
        while waiting:
            extent = waiting.pop()
            if extent in seen:
                continue
            seen.add(extent)
            for target in code.ways_out(*extent).calls:
                if extents.is_seen(target) and gathered.bodies.hold(target):
                    yield entry[0], target
                    waiting.clear()
                    break
                called = extents.reached(target)
                if called is not None and extents.is_unseen(called[0]):
                    waiting.append(called)


class _WaysOut(NamedTuple):
    """Where a piece of code leads, by link-time addresses.

    ``jumps``: out of it, also through words and stubs; ``calls``; ``indirect``: where it jumps to where a
    register or a table points; ``decoded``: whether all of it could be decoded; else there are too many.
    """

    jumps: tuple[int, ...]
    calls: tuple[int, ...]
    indirect: tuple[int, ...]
    decoded: bool


class _Code:
    """What a file says of its code, whatever of it is asked for: read once, for all livepatches and processes."""

    def __init__(self, image: ElfImage) -> None:
        self.image = image
        self.described = DescribedCode(image)
        self.moved = _MovedParts(image)
        self._slots = _Slots(image)
        self._imported = imported_slots(image).keys()
        self._ways: dict[tuple[int, int], _WaysOut] = {}
        self._leaves: dict[tuple[int, int], bool] = {}
        named: dict[int, int] = {}
        for symbol in image.symbols() + image.dynamic_symbols():
            # clang gives moved parts no type.
            if not is_function(symbol) and symbol.value not in self.moved.addresses:
                continue
            if symbol.size and image.is_executable_address(symbol.value):
                end = min(symbol.value + symbol.size, image.end_of_segment(symbol.value))
                named[symbol.value] = max(end, named.get(symbol.value, 0))
        self.named = named
        self.by_symbol = sorted(named.items())
        self.linkage = [(section.address, section.address + section.size) for section in image.sections
                        if section.name.startswith((".plt", ".iplt"))]

    def ways_out(self, start: int, end: int) -> _WaysOut:
        """Where the code from ``start`` to ``end`` leads."""
        if (start, end) not in self._ways:
            code = self.image.read(start, end - start)
            begins = instruction_starts(code)
            behind = self._slots.behind
            self._ways[start, end] = _WaysOut(
                jumps=(*map(behind, _jumps_out(code, start, begins)), *self._slots.jumps(code, start, begins)),
                calls=tuple(map(behind, _targets(calls(code), start, begins))),
                indirect=tuple(start + place for place in indirect_jumps(code, begins)),
                decoded=begins is not None,
            )
        return self._ways[start, end]

    def may_leave(self, start: int, end: int) -> bool:
        """Whether a computed jump in the code from ``start`` to ``end`` may be none of a switch."""
        if (start, end) not in self._leaves:
            self._leaves[start, end] = may_leave(self.image.read(start, end - start), start, self._imported)
        return self._leaves[start, end]


_KNOWN: WeakKeyDictionary[ElfImage, _Code] = WeakKeyDictionary()


def _code_of(image: ElfImage) -> _Code:
    if image not in _KNOWN:
        _KNOWN[image] = _Code(image)
    return _KNOWN[image]


class _Extents:
    """Where functions begin and end."""

    def __init__(self, code: _Code, functions: list[PatchableFunction]) -> None:
        self._image = code.image
        self._described = code.described
        self._moved = code.moved
        self._named = code.named
        self._by_symbol = code.by_symbol
        self._linkage = code.linkage
        self._functions = {function.address: function for function in functions}
        self._padded = {function.address for function in functions}
        self._padded.update(function.address - PAD_BEFORE for function in functions)
        self._seen = {function.address for function in functions if function.refusal is None}

    def at(self, address: int) -> tuple[int, int] | None:
        """(start, end) of what ``address`` lies in, or None; of two answers the longer one."""
        extents = [extent for extent in (self._described.at(address), _containing(self._by_symbol, address))
                   if extent is not None]
        return (min(start for start, _end in extents), max(end for _start, end in extents)) if extents else None

    def required(self, address: int, what: str) -> tuple[int, int]:
        """The same for ``what``, of which NotPatchable is raised when nothing tells where it ends."""
        extent = self.at(address)
        if extent is None:
            raise NotPatchable(
                f"{self._image.name}: neither a symbol nor unwind information tells where {what} at {address:#x} ends;"
                " do not strip the symbol table, or compile with -fasynchronous-unwind-tables", [])
        return extent

    def reached(self, address: int, required: bool = False) -> tuple[int, int] | None:
        """The same for the target of a jump, or None when that leads out.

        :param required: whether to raise NotPatchable, not to return None, when nothing tells where it ends.
        """
        if not self._image.is_executable_address(address) or _containing(self._linkage, address):
            return None
        if self._is_padding(address):
            address += PAD_BEFORE
        return self.required(address, "the code that is jumped to") if required else self.at(address)

    def _is_padding(self, address: int) -> bool:
        """Whether one of the functions has its padding at ``address``, and not another function its last bytes."""
        function = self._functions.get(address + PAD_BEFORE)
        return function is not None and (function.trampoline or self.at(address) is None)

    def is_seen(self, address: int) -> bool:
        """Whether at ``address`` a function begins whose entry can be hooked."""
        return address in self._seen

    def is_unseen(self, start: int) -> bool:
        """Whether at ``start`` begins a function that has a name of its own, but whose entry cannot be hooked."""
        return start in self._named and start not in self._seen and start not in self._moved.addresses

    def label(self, address: int) -> str:
        """What messages call the function at ``address``."""
        function = self._functions.get(address) or self._functions.get(address + PAD_BEFORE)
        if function is not None:
            return function.label
        return self._moved.name(address) or f"the function at {address:#x}"

    def moved_parts(self, start: int) -> list[tuple[int, int]]:
        """The extents of the parts that the compiler has moved away from the function at ``start``, says their name."""
        return [extent for extent in map(self.at, self._moved.of(start)) if extent is not None]

    def nameless(self, functions: Collection[tuple[int, int]], jumps: Iterable[int]) -> list[tuple[int, int]]:
        """The extents of code without a name that may be a part of ``functions`` to which one of ``jumps`` leads.

        Local symbols may have been stripped, all or some.  It has no padding, and is not where the program starts.
        """
        parts = nameless_parts(self._image, frozenset(
            address for address in self._described.starts()
            if address not in self._padded and address not in self._named
            and address != self._image.header.entry and not _containing(self._linkage, address)))
        return [extent for extent in map(self.at, parts.reached(functions, jumps)) if extent is not None]


class _MovedParts:
    """The parts of functions that the compiler has moved away, as far as symbols tell."""

    def __init__(self, image: ElfImage) -> None:
        self._names: dict[int, set[str]] = defaultdict(set)
        self._parts: dict[str, set[int]] = defaultdict(set)
        self.addresses: set[int] = set()
        for symbol in image.symbols():
            if not symbol.defined:
                continue
            self._names[symbol.value].add(symbol.name)
            moved = _MOVED_PART.search(symbol.name)
            if moved:
                self._parts[symbol.name[:moved.start()]].add(symbol.value)
                self.addresses.add(symbol.value)

    def name(self, address: int) -> str | None:
        """A name of the function at ``address``, or None."""
        return min(self._names.get(address, ()), default=None)

    def of(self, start: int) -> set[int]:
        """Where the parts of the function at ``start`` begin."""
        return {address for name in self._names.get(start, ()) for address in self._parts.get(name, ())}


def _containing(ranges: Sequence[tuple[int, int]], address: int) -> tuple[int, int] | None:
    """The one of ``ranges`` ((start, end), ascending) that holds ``address``, or None."""
    index = bisect_right(ranges, (address, 1 << 64)) - 1
    return ranges[index] if index >= 0 and address < ranges[index][1] else None


class _Slots:
    """The words that the loader fills in, or has no need to, through which a file may jump to its own functions."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image
        self._filled = image.relative_addresses()
        own = slots_of_own_functions(image)
        self._filled.update(own)
        self._stubs = linkage_stubs(image, own)
        self._left = {relocation.offset for relocation in image.relocations()} - set(self._filled)

    def behind(self, target: int) -> int:
        """Where a direct jump or call to ``target`` leads: the linker's stubs lead on to functions of the file itself.

        Another file may have taken the place of such a function; then it leads nowhere here.
        """
        return self._stubs.get(target, target)

    def jumps(self, code: bytes, start: int, begins: set[int] | None) -> Iterator[int]:
        """The targets of the jumps through such words in ``code``, which stands at ``start``."""
        for slot in _targets(jumps_through_words(code), start, begins):
            target = self._target(slot)
            if target is not None and self._image.is_executable_address(target):
                yield target

    def _target(self, slot: int) -> int | None:
        if slot in self._filled:
            return self._filled[slot]
        if slot in self._left:
            # Filled with the address of another file's function, or with what an IFUNC resolver chooses.
            return None
        try:
            # At a fixed address the linker knows what it leads to.
            return int.from_bytes(self._image.read(slot, 8), "little")
        except BadElf:
            return None


def _targets(found: Iterable[tuple[int, int]], start: int, begins: set[int] | None) -> Iterator[int]:
    """Where the calls or jumps lead that were ``found`` in code at ``start``, as (place, target), if they are any."""
    for place, target in found:
        if begins is None or place in begins:
            yield start + target


def _jumps_out(code: bytes, start: int, begins: set[int] | None) -> Iterator[int]:
    """The targets outside of ``code`` of the direct jumps in it; too many when it cannot be decoded."""
    for found in (long_jumps(code), short_jumps(code)):
        for target in _targets(found, start, begins):
            if not start < target < start + len(code):
                yield target
