# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All code of a library or program: where its functions are, and where its jumps and calls lead."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Iterator

from ..arch.disassembly import direct_target, is_jump, is_padding, loaded_address, may_lead_to, operation, outline
from ..arch.elf_format import R_IRELATIVE
from ..elf.code_addresses import near_addresses
from ..elf.symbols import is_function
from ..elf.unwind import DescribedCode
from ..named_tuple import NamedTuple
from .tables import table_targets

if TYPE_CHECKING:
    from ..elf.image import ElfImage
    from ..elf.symbols import Symbol


class Extent(NamedTuple):
    """A piece of code that has unwind information of its own: a function, or a part of one; link-time addresses."""

    start: int
    end: int


class Code:
    """The code of one file.

    Attributes: ``extents`` (list of Extent, ascending), ``calls`` and ``jumps`` ({link-time address: list of the
    addresses of the instructions that lead there directly}), ``last`` ({end of an Extent: the mnemonic of the last
    instruction in it that is no padding}), ``resolvers`` (set of the addresses of functions that choose an
    implementation at load time, IFUNC), ``resolver_names`` ({name: its resolver}), ``taken`` (set of the addresses
    that code or data refer to).
    """

    def __init__(self, image: ElfImage, symbols: list[Symbol]) -> None:
        """
        :param image: elf.image.ElfImage.
        :param symbols: its symbols, with those of its debug file.
        :raises BadElf: it is damaged.
        :raises MissingDependency: Capstone is not installed.
        """
        self.image = image
        self.extents = _extents(image)
        self._starts = [extent.start for extent in self.extents]
        self.functions: dict[int, list[Symbol]] = defaultdict(list)
        self.resolver_names: dict[str, int] = {}
        self.resolvers = {
            relocation.addend for relocation in image.relocations() if relocation.type == R_IRELATIVE}
        for symbol in symbols:
            if is_function(symbol):
                self.functions[symbol.value].append(symbol)
            elif symbol.type == "STT_GNU_IFUNC" and symbol.defined:
                self.resolvers.add(symbol.value)
                self.resolver_names[symbol.name] = symbol.value
        self.exported = {symbol.value for symbol in image.dynamic_symbols() if symbol.defined}
        self.begins = sorted({*self._starts, *self.functions})
        self._relative = image.relative_addresses()
        self.taken = near_addresses(image).union(self._relative.values())
        self.calls: dict[int, list[int]] = defaultdict(list)
        self.jumps: dict[int, list[int]] = defaultdict(list)
        self.last: dict[int, str] = {}
        self._tables: dict[int, set[int]] = {}
        self._sweep()
        self._targets = sorted({*self.calls, *self.jumps})

    def at(self, address: int) -> Extent | None:
        """The Extent that holds ``address``, or None."""
        index = bisect_right(self._starts, address) - 1
        return self.extents[index] if index >= 0 and address < self.extents[index].end else None

    def next_begin(self, address: int) -> int | None:
        """Where the next function or part of one begins behind ``address``, or None."""
        index = bisect_right(self.begins, address)
        return self.begins[index] if index < len(self.begins) else None

    def reached(self, start: int, end: int) -> list[int]:
        """The addresses from ``start`` to before ``end`` to which a jump or call leads, ascending."""
        return self._targets[bisect_left(self._targets, start):bisect_left(self._targets, end)]

    def entering(self, address: int) -> list[int]:
        """The addresses of the jumps and calls that lead to ``address``."""
        return self.jumps.get(address, []) + self.calls.get(address, [])

    def parts(self, function: Extent) -> list[Extent]:
        """The pieces that belong to a function: itself, and what the compiler has moved away from it (``foo.cold``).

        Such a piece is reached by jumps of the function alone: nobody calls it, exports it or takes its address.
        """
        found = [function]
        waiting = [function]
        while waiting:
            for target in self._targets_from(waiting.pop(0)):
                other = self.at(target)
                if other is not None and other not in found and self._is_part(other, found):
                    found.append(other)
                    waiting.append(other)
        return found

    def table_targets(self, extent: Extent) -> set[int]:
        """Where in an Extent the jumps of its switches may lead."""
        if extent.start not in self._tables:
            self._tables[extent.start] = table_targets(
                self.image, extent.start, extent.end, self._relative)
        return self._tables[extent.start]

    def may_jump_to_start(self, extent: Extent) -> bool:
        """Whether an Extent computes where it begins, and jumps to what it has computed.

        So does ``goto *(&&first + distances[i])``: the distances are not those from their table.
        """
        if extent.start not in self.taken:
            return False
        taken = jumps = False
        for address, size, mnemonic, operands in outline(*self.read(extent)):
            if is_jump(mnemonic):
                jumps = jumps or direct_target(operands) is None
            elif loaded_address(mnemonic, operands, address + size) == extent.start:
                taken = True
        return taken and jumps

    def _is_part(self, extent: Extent, parts: list[Extent]) -> bool:
        if extent.start in self.calls or extent.start in self.exported or extent.start in self.taken:
            return False
        return all(
            self.at(source) in parts or self.at(source) == extent for source in self.jumps.get(extent.start, ()))

    def _targets_from(self, extent: Extent) -> Iterator[int]:
        for _address, _size, mnemonic, operands in outline(*self.read(extent)):
            target = direct_target(operands) if is_jump(mnemonic) else None
            if target is not None and not extent.start <= target < extent.end:
                yield target

    def read(self, extent: Extent) -> tuple[bytes, int]:
        """(the bytes of an Extent, its link-time address), as outline() and instructions() take them."""
        return self.image.read(extent.start, extent.end - extent.start), extent.start

    def _sweep(self) -> None:
        """Find all direct jumps and calls, between one beginning and the next so that none is missed behind data."""
        edges = sorted({*self.begins, *(extent.end for extent in self.extents)})
        ends = {extent.end for extent in self.extents}
        for section in self.image.code_sections():
            data = self.image.section_data(section)
            inner = edges[bisect_right(edges, section.address):bisect_left(edges, section.address + section.size)]
            bounds = [section.address, *inner, section.address + section.size]
            for start, end in zip(bounds, bounds[1:]):
                last = self._sweep_piece(data[start - section.address:end - section.address], start)
                if end in ends:
                    self.last[end] = last

    def _sweep_piece(self, code: bytes, address: int) -> str:
        last = ""
        for place, _size, mnemonic, operands in outline(code, address):
            name = operation(mnemonic)
            if name == "call":
                target = direct_target(operands)
                if target is not None:
                    self.calls[target].append(place)
            elif may_lead_to(mnemonic):
                target = direct_target(operands)
                if target is not None:
                    self.jumps[target].append(place)
            elif is_padding(mnemonic):
                continue
            last = name
        return last


def _extents(image: ElfImage) -> list[Extent]:
    described = DescribedCode(image)
    found = {described.at(start) for start in described.starts()}
    return sorted(Extent(*extent) for extent in found if extent is not None and extent[0] < extent[1])
