# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the sites of functions that were compiled without padding, or says why a function has none."""

from __future__ import annotations

import struct
from typing import Any, Iterable

from ..arch.code import JUMP_SIZE, LONGEST_INSTRUCTION, SHORT_JUMP_SIZE
from ..arch.disassembly import Moved, Unmovable, instructions, is_idle, moved, operation, pushed_register
from ..arch.frames import STACK_POINTER
from ..arch.padding import ENDBR64
from ..elf.frames import FrameDescriptions
from ..elf.image import ElfImage
from ..elf.site import PUN, RETURN_ADDRESS, SHORT, WIDE, WORD, Site
from ..elf.symbols import Symbol
from ..named_tuple import NamedTuple
from .code import Code, Extent
from .gaps import Gaps

# As many registers as a function may have to save.
_MOST_PUSHES = 6
# Bytes: a landing pad and pushes of two bytes each, and the instruction behind them.
_PROLOGUE = len(ENDBR64) + 2 * _MOST_PUSHES + LONGEST_INSTRUCTION
_DISTANCE = struct.Struct("<i")
# So many gaps each function is given: another livepatch may have taken the first in the process.
_GAPS = 4
# What a compiler calls a part of a function that it has moved away.
_MOVED_PART = ".cold"


class Found(NamedTuple):
    """What there is of a function: its ``size`` in bytes, its ``sites`` (tuple of Site), or why there are none."""

    size: int
    sites: tuple[Site, ...]
    refusal: str | None


class _Place(NamedTuple):
    """An instruction in the prologue that may become a site."""

    address: int
    code: bytes
    moved: Moved
    cfa: int  # the CFA minus the stack pointer before it


class SiteFinder:
    """Finds sites in one file."""

    def __init__(self, image: ElfImage, symbols: list[Symbol]) -> None:
        """
        :param image: ElfImage of a library or program.
        :param symbols: its symbols, with those of its debug file.
        :raises BadElf: it is damaged.
        :raises MissingDependency: Capstone is not installed.
        """
        self.code = Code(image, symbols)
        self._image = image
        self._frames = FrameDescriptions(image)

    def find(self, addresses: Iterable[int]) -> dict[int, Found]:
        """The sites of functions that are diverted together, so that none of them gets another one's gap.

        :param addresses: the link-time addresses of functions.
        :return: {address: Found}.
        """
        places: dict[int, list[_Place]] = {}
        found: dict[int, Found] = {}
        for address in sorted(addresses):
            try:
                places[address] = self._places(address)
            except Unmovable as error:
                found[address] = Found(0, (), str(error))
        # What sticks out of a function is the rest of a displacement.
        taken = [(place.address, place.address + max(JUMP_SIZE, len(place.code)))
                 for each in places.values() for place in each]
        gaps = Gaps(self.code, taken)
        # Two functions may reach one gap alone: it is for the one that has no other way to lead anywhere.
        needy = sorted(places, key=lambda address: any(map(self._leads_anywhere, places[address])))
        sites = {address: self._sites(places[address], gaps) for address in needy}
        # Everybody has had a first one by now.
        for _each in range(_GAPS - 1):
            for several in sites.values():
                _add_gap(several, gaps)
        for address, several in sites.items():
            extent = self.code.at(address)
            size = extent.end - address if extent is not None else 0
            found[address] = Found(size, tuple(several), None if several else "it is too short for a jump")
        return found

    def _places(self, address: int) -> list[_Place]:
        """The places where the function at ``address`` may be diverted; Unmovable: there is none, and why."""
        extent = self._require_function(address, self.code.at(address))
        parts = self.code.parts(extent)
        tables = self.code.table_targets(extent)
        self._require_single_entry(extent, parts, tables)
        places: list[_Place] = []
        cfa = RETURN_ADDRESS
        pushed: list[str] = []
        end = min(extent.end, address + _PROLOGUE)
        expected = address
        for instruction in instructions(self._image.read(address, end - address), address):
            place = instruction.address
            if place != address and (self.code.entering(place) or place in tables or place in self.code.taken):
                break
            try:
                what = moved(instruction, pushed)
                self._require_described(place, instruction, cfa, what)
            except Unmovable as error:
                if not places:
                    raise Unmovable(f"its first instruction ({_text(instruction)}) {error}") from error
                break
            places.append(_Place(place, bytes(instruction.bytes), what, cfa))
            expected = place + instruction.size
            register = pushed_register(instruction)
            if register is not None and len(pushed) < _MOST_PUSHES:
                pushed.append(register)
                cfa += what.lowered
            elif not is_idle(instruction):
                break
        if expected == address:
            raise Unmovable("its first instruction cannot be decoded")
        return places

    def _require_function(self, address: int, extent: Extent | None) -> Extent:
        names = [symbol.name for symbol in self.code.functions.get(address, ())]
        if address in self.code.resolvers:
            raise Unmovable("it chooses an implementation at load time (IFUNC); replace the one that is chosen")
        if extent is None:
            raise Unmovable("no unwind information describes it")
        if extent.start != address:
            raise Unmovable("it begins in the middle of what the unwind information calls one function")
        if any(_MOVED_PART in name for name in names):
            raise Unmovable("it is a part of another function, which the compiler has moved away")
        frame = self._frames.at(address)
        if frame is not None and frame.signal:
            raise Unmovable("it is where signal handlers return to")
        if frame is None or (frame.base, frame.offset) != (STACK_POINTER, RETURN_ADDRESS):
            raise Unmovable("its unwind information does not say that it is entered by a call")
        return extent

    def _require_single_entry(self, extent: Extent, parts: list[Extent], tables: set[int]) -> None:
        """Nobody enters it behind its start, and it does not jump back to that itself."""
        for source in self.code.jumps.get(extent.start, ()):
            if self.code.at(source) in parts:
                raise Unmovable("it jumps back to its own start, the head of a loop")
        if extent.start in tables or self.code.may_jump_to_start(extent):
            raise Unmovable("it jumps back to its own start, the head of a loop")
        for target in self.code.reached(extent.start + 1, extent.end):
            for source in self.code.entering(target):
                if self.code.at(source) not in parts:
                    raise Unmovable(f"code at {source:#x} enters it behind its start, at {target:#x}")
        behind = self.code.next_begin(extent.start)
        if behind is not None and behind < extent.end:
            raise Unmovable(f"another function begins in it, at {behind:#x}")

    def _require_described(self, place: int, instruction: Any, cfa: int, what: Moved) -> None:
        """The unwind information agrees about the stack pointer before and behind the instruction."""
        before = self._frames.at(place)
        if before is None or (before.base, before.offset) != (STACK_POINTER, cfa):
            raise Unmovable("stands where the unwind information says something else of the stack pointer")
        behind = self._frames.at(place + instruction.size)
        goes_on = operation(instruction.mnemonic) != "jmp"
        if (goes_on and behind is not None and behind.base == STACK_POINTER
                and behind.offset != cfa + what.lowered):
            raise Unmovable("changes the stack pointer otherwise than the unwind information says")

    def _sites(self, places: list[_Place], gaps: Gaps) -> list[Site]:
        """The sites at ``places``, in order of preference: as they change little, and late enough to keep endbr64."""
        if len(places) > 1 and places[0].code == ENDBR64:
            places = [places[1], places[0], *places[2:]]
        sites = [self._site(place, PUN) for place in places if self._has_room(place) and self._may_be_free(place)]
        sites += [self._site(place, WIDE) for place in places if self._is_wide(place)]
        for place in places:
            if len(place.code) >= SHORT_JUMP_SIZE and place.address % WORD + SHORT_JUMP_SIZE <= WORD:
                gap = gaps.take(place.address)
                if gap is not None:
                    sites.append(self._site(place, SHORT)._replace(gap=gap))
                    # One is enough: gaps are few.
                    break
        return sites

    def _site(self, place: _Place, kind: str) -> Site:
        length = len(place.code)
        original = place.code if kind == SHORT else self._image.read(place.address, max(length, JUMP_SIZE))
        return Site(
            kind, place.address, length, original, place.moved.form, place.moved.displacement,
            place.cfa, place.cfa + place.moved.lowered, overwrites=place.moved.overwrites)

    def _is_wide(self, place: _Place) -> bool:
        """Whether one store can write there, and change where the jump leads."""
        written = min(len(place.code), JUMP_SIZE)
        return written >= SHORT_JUMP_SIZE and place.address % WORD + written <= WORD and self._has_room(place)

    def _leads_anywhere(self, place: _Place) -> bool:
        """Whether all bytes of the displacement can be written there."""
        return len(place.code) >= JUMP_SIZE and self._is_wide(place)

    def _has_room(self, place: _Place) -> bool:
        """Whether all bytes of the displacement are there, and none is another function's, which may change."""
        end = place.address + JUMP_SIZE
        following = self.code.next_begin(place.address)
        return end <= self._image.end_of_segment(place.address) and (following is None or end <= following)

    def _may_be_free(self, place: _Place) -> bool:
        """Whether the displacement of a pun leads to where something can be mapped: not into the file itself."""
        distance = _DISTANCE.unpack(self._image.read(place.address + 1, _DISTANCE.size))[0]
        target = place.address + JUMP_SIZE + distance
        if self._image.type == "ET_EXEC" and target <= 0:
            return False
        loaded = [segment for segment in self._image.segments if segment.type == "PT_LOAD"]
        return not loaded[0].vaddr <= target < loaded[-1].vaddr + loaded[-1].memsz


def _add_gap(sites: list[Site], gaps: Gaps) -> None:
    """Another gap for a function that has one."""
    if sites and sites[-1].kind == SHORT:
        gap = gaps.take(sites[-1].offset)
        if gap is not None:
            sites.append(sites[-1]._replace(gap=gap))


def _text(instruction: Any) -> str:
    return f"{instruction.mnemonic} {instruction.op_str}".rstrip()
