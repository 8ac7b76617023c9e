# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that the loader fills with addresses of functions, and what code does with them.

A call or jump to an exported function goes through such a word: in the PLT stub
that the linker has made, or with ``-fno-plt`` in the function itself, which
jumps through the word, or loads it into a register first.  The stubs of the
linkers that are known are told from other code.  Whatever else uses the word
may jump.

Sources: the System V gABI, chapter 5 (dynamic linking); arch.code for the instructions and stubs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Mapping

from ..arch.code import JUMPS, LOADS, stub_entries, word_references, word_use
from ..arch.elf_format import R_ADDRESS, R_GLOB_DAT, R_IRELATIVE, R_JUMP_SLOT
from ..named_tuple import NamedTuple
from .symbols import is_function

if TYPE_CHECKING:
    from .image import ElfImage, Section

# The compilers' thunks, where they are to come from another file (-mindirect-branch=thunk-extern, -mretpoline).
_THUNK_NAME = re.compile(r"thunk|retpoline")


class Chosen(NamedTuple):
    """Stands for a function of the library; the file does not tell which."""


CHOSEN = Chosen()


class SlotUses(NamedTuple):
    """What code does with the words.

    ``stubs``: {address in a stub at which a jump or call may enter it: what the word leads to}; ``jumps`` and
    ``loads``: {what the word leads to: link-time addresses of the instructions that jump through it, or may, and
    that otherwise read it}; ``used``: the addresses of the words that any instruction refers to.
    """

    stubs: dict[int, Any]
    jumps: dict[Any, set[int]]
    loads: dict[Any, set[int]]
    used: set[int]


def slots_of_own_functions(image: ElfImage) -> dict[int, int]:
    """{address of a word: symbol value} for the functions that the file both defines and refers to by name."""
    symbols = image.dynamic_symbols()
    slots = {}
    for relocation in image.relocations():
        if relocation.type in (R_GLOB_DAT, R_JUMP_SLOT, R_ADDRESS):
            if relocation.symbol >= len(symbols):
                raise image.bad("is damaged: a relocation refers to a symbol that does not exist")
            symbol = symbols[relocation.symbol]
            if is_function(symbol):
                slots[relocation.offset] = symbol.value + (
                    relocation.addend if relocation.type == R_ADDRESS else 0)
    return slots


def chosen_slots(image: ElfImage) -> set[int]:
    """The addresses of the words that an IFUNC resolver of the file fills, a set."""
    symbols = image.dynamic_symbols()
    return {
        relocation.offset for relocation in image.relocations()
        if relocation.type == R_IRELATIVE or (
            relocation.type in (R_GLOB_DAT, R_JUMP_SLOT, R_ADDRESS)
            and relocation.symbol < len(symbols) and symbols[relocation.symbol].defined
            and symbols[relocation.symbol].type == "STT_GNU_IFUNC")
    }


def imported_slots(image: ElfImage) -> dict[int, str]:
    """{address of a word: name} for the symbols of other files."""
    symbols = image.dynamic_symbols()
    return {
        relocation.offset: symbols[relocation.symbol].name
        for relocation in image.relocations()
        if relocation.type in (R_GLOB_DAT, R_JUMP_SLOT, R_ADDRESS)
        and relocation.symbol < len(symbols) and not symbols[relocation.symbol].defined
    }


def is_thunk_name(name: str) -> bool:
    """Whether compilers call functions so that jump to where a register points."""
    return _THUNK_NAME.search(name) is not None


def is_linkage(section: Section) -> bool:
    """Whether a section holds the linker's stubs."""
    return section.name.startswith((".plt", ".iplt"))


def linkage_stubs(image: ElfImage, slots: Mapping[int, Any]) -> dict[int, Any]:
    """Of slot_uses(), which reads all code, the ``stubs`` alone."""
    uses = SlotUses({}, defaultdict(set), defaultdict(set), set())
    for section in image.code_sections():
        if is_linkage(section):
            data = image.section_data(section)
            for place, offset in word_references(data):
                if section.address + offset in slots:
                    _in_linkage(uses, data, section.address, place, slots[section.address + offset])
    return uses.stubs


def slot_uses(image: ElfImage, slots: Mapping[int, Any]) -> SlotUses:
    """What the code of ``image`` does with the words at ``slots`` ({link-time address: what it leads to}).

    :return: SlotUses.  What an instruction does is never taken for less than it is; where bytes only look like one,
        it may be taken for more.
    """
    uses = SlotUses({}, defaultdict(set), defaultdict(set), set())
    for section in image.code_sections():
        data = image.section_data(section)
        linkage = is_linkage(section)
        for place, offset in word_references(data):
            slot = section.address + offset
            if slot not in slots:
                continue
            uses.used.add(slot)
            if linkage:
                _in_linkage(uses, data, section.address, place, slots[slot])
            else:
                _in_function(uses, data, section.address, place, slots[slot])
    return uses


def _in_function(uses: SlotUses, data: bytes, base: int, place: int, target: Any) -> None:
    # A call leaves a frame, and a comparison asks only whether the function is there.
    use = word_use(data, place)
    if use == JUMPS:
        uses.jumps[target].add(base + place)
    elif use == LOADS:
        uses.loads[target].add(base + place)


def _in_linkage(uses: SlotUses, data: bytes, base: int, place: int, target: Any) -> None:
    entries = stub_entries(data, place)
    if entries is None:
        # A stub of a kind that is not known: who knows how it is entered.
        uses.jumps[target].add(base + place)
        return
    for entry in entries:
        uses.stubs[base + entry] = target
