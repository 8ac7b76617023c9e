# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code that belongs to some functions of a program.

A program's own frames are on every stack, so a thread counts as inside only
while it executes a function that is replaced.  To such a function belongs all
that it leads to by jumps: the part that the compiler moved away because it is
seldom executed (``foo.cold``), and any function in which it goes on by a tail
call, with no frame of its own left.

Sources: LSB Core, chapter 10.6 (.eh_frame tells where functions begin and end).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from typing import NamedTuple

from ..abi import PAD_BEFORE
from ..errors import NotPatchable
from .instructions import instruction_starts
from .patchable import JUMP8, JUMP32, REL32, is_function
from .unwind import DescribedCode

# What the compiler calls the part of a function that it moved away.
_MOVED_PART = ".cold"
# Intel SDM volume 2, JMP: ff /4.
_INDIRECT_JUMP = re.compile(rb"\xff[\x20-\x27\x60-\x67\xa0-\xa7\xe0-\xe7]")


class Bodies(NamedTuple):
    """Code of a program, by link-time addresses in bytes.

    ``ranges``: (start, end), ascending and disjoint; ``jumped``: where jumps in them lead to.
    """

    ranges: tuple[tuple[int, int], ...]
    jumped: frozenset[int]

    def hold(self, address):
        """Whether ``address`` lies in one of the ranges."""
        return _containing(self.ranges, address) is not None

    def lead_to(self, address):
        """Whether one of the jumps leads to the function at ``address``, or to its padding."""
        return address in self.jumped or address - PAD_BEFORE in self.jumped


def bodies(image, functions, roots):
    """The code of the functions at ``roots``, and of all that direct jumps lead to from there.

    A function without padding that has a name of its own is left out: a thread that enters by it is
    not seen to enter.

    :param image: ElfImage of the program.
    :param functions: what patchable.patchable_functions() gave for it.
    :param roots: link-time addresses of functions.
    :return: Bodies.
    :raises NotPatchable: nothing tells where one of the functions at ``roots`` ends.
    """
    extents = _Extents(image, functions)
    found = set()
    jumped = set()
    waiting = []
    for root in sorted(roots):
        extent = extents.at(root)
        if extent is None:
            raise NotPatchable(
                f"{image.name}: neither a symbol nor unwind information tells where the function at {root:#x} ends;"
                " do not strip the symbol table, or compile with -fasynchronous-unwind-tables", [])
        waiting.append(extent)
    while waiting:
        start, end = extent = waiting.pop()
        if extent in found:
            continue
        found.add(extent)
        code = image.read(start, end - start)
        waiting.extend(extents.moved_parts(start, code))
        for target in _jumps_out(code, start):
            jumped.add(target)
            reached = extents.reached(target)
            if reached is not None:
                waiting.append(reached)
    return Bodies(tuple(_joined(found)), frozenset(jumped))


class _Extents:
    """Where functions begin and end."""

    def __init__(self, image, functions):
        self._image = image
        self._described = DescribedCode(image)
        self._moved = _MovedParts(image)
        self._padded = {function.address for function in functions}
        self._padded.update(function.address - PAD_BEFORE for function in functions)
        named = {}
        for symbol in image.symbols() + image.dynamic_symbols():
            if is_function(symbol) and symbol.size and image.is_executable_address(symbol.value):
                end = min(symbol.value + symbol.size, image.end_of_segment(symbol.value))
                named[symbol.value] = max(end, named.get(symbol.value, 0))
        self._named = named
        self._by_symbol = sorted(named.items())
        self._linkage = [(section.address, section.address + section.size) for section in image.sections
                         if section.name.startswith((".plt", ".iplt"))]

    def at(self, address):
        """(start, end) of what ``address`` lies in, or None; of two answers the longer one."""
        extents = [extent for extent in (self._described.at(address), _containing(self._by_symbol, address))
                   if extent is not None]
        return (min(start for start, _end in extents), max(end for _start, end in extents)) if extents else None

    def reached(self, address):
        """The same for the target of a jump; None also when that leads out, or to where nobody sees a thread enter."""
        extent = self.at(address) if self._image.is_executable_address(address) else None
        if extent is None or _containing(self._linkage, address):
            return None
        start = extent[0]
        seen_to_enter = start in self._padded
        entered = start in self._named and start not in self._moved.addresses
        return extent if seen_to_enter or not entered else None

    def moved_parts(self, start, code):
        """The extents of the parts that the compiler has, or may have, moved away from the function at ``start``.

        An indirect jump, as that of a switch, may lead into one as well.  Symbols tell which they are; without any
        they may be all code that has neither padding nor a name, other than where the program starts.
        """
        addresses = self._moved.of(start)
        if not self._image.symbols() and _INDIRECT_JUMP.search(code):
            addresses = [address for address in self._described.starts()
                         if address not in self._padded and address not in self._named
                         and address != self._image.header["e_entry"] and not _containing(self._linkage, address)]
        return [extent for extent in map(self.at, addresses) if extent is not None]


class _MovedParts:
    """The parts of functions that the compiler has moved away, as far as symbols tell."""

    def __init__(self, image):
        self._names = defaultdict(set)
        self._parts = defaultdict(set)
        self.addresses = set()
        for symbol in image.symbols():
            if not symbol.defined:
                continue
            self._names[symbol.value].add(symbol.name)
            owner, moved, _number = symbol.name.partition(_MOVED_PART)
            if moved:
                self._parts[owner].add(symbol.value)
                self.addresses.add(symbol.value)

    def of(self, start):
        """Where the parts of the function at ``start`` begin."""
        return {address for name in self._names.get(start, ()) for address in self._parts.get(name, ())}


def _containing(ranges, address):
    """The one of ``ranges`` ((start, end), ascending) that holds ``address``, or None."""
    index = bisect_right(ranges, (address, 1 << 64)) - 1
    return ranges[index] if index >= 0 and address < ranges[index][1] else None


def _jumps_out(code, start):
    """The targets outside of ``code`` of the direct jumps in it; too many when it cannot be decoded."""
    begins = instruction_starts(code)
    for match in JUMP32.finditer(code):
        if begins is None or match.start() in begins:
            target = start + match.end(1) + REL32.unpack(match.group(1))[0]
            if not start < target < start + len(code):
                yield target
    for match in JUMP8.finditer(code):
        if begins is None or match.start() in begins:
            displacement = match.group(1)[0]
            target = start + match.start() + 2 + displacement - (256 if displacement > 127 else 0)
            if not start < target < start + len(code):
                yield target


def _joined(ranges):
    """``ranges`` ascending, with those that overlap made one."""
    last = None
    for start, end in sorted(ranges):
        if last is not None and start <= last[1]:
            last = last[0], max(end, last[1])
            continue
        if last is not None:
            yield last
        last = start, end
    if last is not None:
        yield last
