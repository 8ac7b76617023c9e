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

from bisect import bisect_right
from typing import NamedTuple

from ..abi import PAD_BEFORE
from ..errors import NotPatchable
from .instructions import instruction_starts
from .patchable import JUMP8, JUMP32, REL32, is_function
from .unwind import DescribedCode

# What the compiler calls the part of a function that it moved away.
_MOVED_PART = ".cold"


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
        for target in _jumps_out(image.read(start, end - start), start):
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
        self._padded = {function.address for function in functions}
        self._named = {}
        for symbol in image.symbols() + image.dynamic_symbols():
            if is_function(symbol) and symbol.size and image.is_executable_address(symbol.value):
                end = min(symbol.value + symbol.size, image.end_of_segment(symbol.value))
                self._named[symbol.value] = max(end, self._named.get(symbol.value, 0))
        self._moved = {symbol.value for symbol in image.symbols() if _MOVED_PART in symbol.name}
        self._by_symbol = sorted(self._named.items())
        self._linkage = [(section.address, section.address + section.size) for section in image.sections
                         if section.name.startswith((".plt", ".iplt"))]

    def at(self, address):
        """(start, end) of what ``address`` lies in, or None; of two answers the longer one."""
        extents = [extent for extent in (self._described.at(address), _containing(self._by_symbol, address))
                   if extent is not None]
        return (min(start for start, _end in extents), max(end for _start, end in extents)) if extents else None

    def reached(self, address):
        """The same for the target of a jump; None also when that leads out, or to where nobody sees a thread enter."""
        if not self._image.is_executable_address(address) or _containing(self._linkage, address):
            return None
        extent = self.at(address)
        if extent is None:
            return None
        start = extent[0]
        padded = start in self._padded or start + PAD_BEFORE in self._padded
        return extent if padded or start in self._moved or start not in self._named else None


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
