# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of functions that a compiler has moved away, where no symbol says which they are.

A jump through a table may lead to such a part (``foo.cold``), and a stripped
file tells only that some code is there.  Most of that code is no part of
anything but a function of its own: somebody calls it, another function takes
its address, or its frame is not the one that the jump leaves behind.

Source: LSB Core, chapter 10.6 (.eh_frame).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Callable, Collection, Iterable, Iterator
from weakref import WeakKeyDictionary

from ..arch.code import calls, instruction_starts, near_addresses
from .frames import Frame, FrameDescriptions
from .unwind import DescribedCode

if TYPE_CHECKING:
    from .image import ElfImage


# What a file's code says is the same for all functions of it.
_KNOWN: WeakKeyDictionary[ElfImage, dict[frozenset[int], NamelessParts]] = WeakKeyDictionary()


def nameless_parts(image: ElfImage, starts: frozenset[int]) -> NamelessParts:
    """The NamelessParts of a file, from an earlier call where there was one; arguments as those of the class."""
    known = _KNOWN.setdefault(image, {})
    if starts not in known:
        known[starts] = NamelessParts(image, starts)
    return known[starts]


class NamelessParts:
    """What may be a part of some function in one file."""

    def __init__(self, image: ElfImage, starts: Iterable[int]) -> None:
        """
        :param image: ElfImage.
        :param starts: where code begins that has no name; link-time addresses.
        """
        self._image = image
        self._at = DescribedCode(image).at
        self._frames = FrameDescriptions(image)
        self._begins: dict[tuple[int, int], set[int] | None] = {}
        starts = sorted(starts)
        called = {target for _place, target in self._references(calls, starts)}
        self._starts = [start for start in starts if start not in called]
        takers: dict[int, set[int]] = {}
        for place, target in self._references(near_addresses, self._starts):
            takers.setdefault(target, set()).add(place)
        self._takers = takers

    def reached(self, functions: Collection[tuple[int, int]], jumps: Iterable[int]) -> Iterator[int]:
        """Where parts begin that computed jumps may lead to: too many, never too few.

        :param functions: the (start, end) of the function that jumps, and of others to which the part may belong.
        :param jumps: the link-time addresses of these jumps.
        """
        frames = {_place(self._frames.at(jump)) for jump in jumps}
        for start in self._starts:
            # Only a function itself, and its parts, take the address of a place in it.
            if self._is_taken_elsewhere(start, functions):
                continue
            frame = self._frames.at(start)
            if frame is not None and frame.signal:
                # Where signal handlers return to.
                continue
            if None in frames or _place(frame) in (None, *frames):
                yield start

    def _is_taken_elsewhere(self, start: int, functions: Collection[tuple[int, int]]) -> bool:
        return any(not any(first <= taker < end for first, end in functions) and not self._may_be_part(taker)
                   for taker in self._takers.get(start, ()))

    def _may_be_part(self, address: int) -> bool:
        extent = self._at(address)
        if extent is None:
            return True
        index = bisect_left(self._starts, extent[0])
        return index < len(self._starts) and self._starts[index] == extent[0]

    def _references(
        self, find: Callable[[bytes], Iterator[tuple[int, int]]], starts: list[int],
    ) -> Iterator[tuple[int, int]]:
        """(place, target) of what ``find`` sees in the code that leads to one of ``starts``, and is an instruction."""
        wanted = frozenset(starts)
        for section in self._image.code_sections():
            base = section.address
            for place, target in find(self._image.section_data(section)):
                if base + target in wanted and self._is_instruction(base + place):
                    yield base + place, base + target

    def _is_instruction(self, address: int) -> bool:
        extent = self._at(address)
        if extent is None:
            return False
        if extent not in self._begins:
            self._begins[extent] = instruction_starts(self._image.read(extent[0], extent[1] - extent[0]))
        begins = self._begins[extent]
        return begins is not None and address - extent[0] in begins


def _place(frame: Frame | None) -> tuple[int, int] | None:
    """(register, offset) by which a frame is found, or None: nothing tells, or an expression."""
    return None if frame is None or frame.base is None else (frame.base, frame.offset)
