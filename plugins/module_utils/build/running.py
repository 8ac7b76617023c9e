# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the library that runs is the one that was built before the diff.

Build IDs tell, or the code itself: what distributions ship is stripped, and has other debug information, but the same
code at the same addresses.  Then the symbols of the one that was built are those of the one that runs.
"""

from __future__ import annotations

from bisect import bisect_right

from ..abi import PAD_BEFORE, PAD_ENTRY
from ..elf.image import SHF_ALLOC, ElfImage
from ..elf.patchable import padding_addresses
from ..elf.symbols import is_function


def layout_difference(built: ElfImage, running: ElfImage) -> str | None:
    """What tells that two libraries have their code or data at other addresses, as a clause; or None."""
    mine, other = _layout(built), _layout(running)
    for name in [*mine, *(name for name in other if name not in mine)]:
        if mine.get(name) != other.get(name):
            if name not in mine or name not in other:
                return f"only one of them has a section {name}"
            return (f"{name} is {mine[name][1]} bytes long at {mine[name][0]:#x} in the one, and {other[name][1]} bytes"
                    f" at {other[name][0]:#x} in the other")
    return None


def _layout(image: ElfImage) -> dict[str, tuple[int, int]]:
    """{section: (address, size)} of code and data; tables for the loader may differ."""
    return {section.name: (section.address, section.size) for section in image.sections
            if section.flags & SHF_ALLOC and section.name.startswith(
                (".text", ".rodata", ".data", ".bss", ".tdata", ".tbss", ".init_array", ".got"))}


def differing_functions(built: ElfImage, running: ElfImage) -> list[str]:
    """The names of the functions whose code differs between two libraries of equal layout.

    The padding of functions does not count: post-processing writes into it.
    """
    starts = [(symbol.value, symbol.name) for symbol in built.symbols() if is_function(symbol)]
    starts.sort()
    addresses = [address for address, _name in starts]
    names: dict[str, None] = {}
    for section in built.code_sections():
        other = next((each for each in running.sections if each.name == section.name), None)
        if other is None or not section.name.startswith(".text"):
            continue
        mine, theirs = _without_padding(built, section.address, section.size), _without_padding(
            running, section.address, section.size)
        if mine == theirs:
            continue
        for offset in [place for place, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]]:
            index = bisect_right(addresses, section.address + offset) - 1
            names[starts[index][1] if index >= 0 else f"{section.name}+{offset:#x}"] = None
    return list(names)


def _without_padding(image: ElfImage, address: int, size: int) -> bytes:
    code = bytearray(image.read(address, size))
    for start in padding_addresses(image):
        place = start - address
        if 0 <= place < size:
            length = min(PAD_BEFORE + PAD_ENTRY, size - place)
            code[place:place + length] = bytes(length)
    return bytes(code)
