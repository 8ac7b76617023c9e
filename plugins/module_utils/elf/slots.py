# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that the loader fills with addresses of functions, and what code does with them.

A call or jump to an exported function goes through such a word: in the PLT stub
that the linker has made, or with ``-fno-plt`` in the function itself, which
jumps through the word, or loads it into a register first.  The stubs of the
linkers that are known are told from other code.  Whatever else uses the word
may jump.

Sources: the AMD64 supplement of the System V ABI (PLT, relocation types); Intel
SDM volume 2 for the instructions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

from ..arch.code import REL32
from ..arch.elf_format import R_ADDRESS, R_GLOB_DAT, R_IRELATIVE, R_JUMP_SLOT
from .symbols import is_function

if TYPE_CHECKING:
    from .image import ElfImage, Section

JUMP_BY_SLOT = re.compile(rb"(?=\xff\x25(....))", re.DOTALL)

# An opcode, a ModRM byte for an operand relative to RIP, and the displacement; no immediate follows.
_REFERENCE = re.compile(rb"(?=([\x00-\xff])([\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(....))", re.DOTALL)
_REFERENCE_SIZE = 6

# What stands before the jump through the word in a stub: an endbr64, mold's number of the word for the loader, and
# a bnd prefix.
_STUB = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?(?:\x41\xbb....)?\xf2?\Z", re.DOTALL)
_LONGEST_STUB = 11
# lld with -z retpolineplt loads the word into r11, and goes on by a call (lazily) or a jump.
_RETPOLINE_LOAD = b"\x4c\x8b\x1d"
_RETPOLINE_GOES_ON = (b"\xe8", b"\xe9")

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


def slot_uses(image: ElfImage, slots: Mapping[int, Any]) -> SlotUses:
    """What the code of ``image`` does with the words at ``slots`` ({link-time address: what it leads to}).

    :return: SlotUses.  What an instruction does is never taken for less than it is; where bytes only look like one,
        it may be taken for more.
    """
    uses = SlotUses({}, defaultdict(set), defaultdict(set), set())
    for section in image.code_sections():
        data = image.section_data(section)
        linkage = is_linkage(section)
        behind = section.address + _REFERENCE_SIZE
        for match in _REFERENCE.finditer(data):
            slot = match.start() + behind + REL32.unpack(match.group(3))[0]
            if slot not in slots:
                continue
            position = match.start()
            uses.used.add(slot)
            if linkage:
                _in_linkage(uses, data, section.address, position, slots[slot])
            else:
                _in_function(uses, data, section.address, position, slots[slot])
    return uses


def _in_function(uses: SlotUses, data: bytes, base: int, position: int, target: Any) -> None:
    opcode, operation = data[position], data[position + 1] >> 3 & 7
    if opcode == 0xFF and operation == 2:
        # A call leaves a frame.
        return
    if opcode == 0xFF and operation in (4, 6):
        # A jump; or a push, behind which a return may follow.
        uses.jumps[target].add(base + position)
    elif not (opcode in (0x39, 0x3B, 0x85) and position and data[position - 1] & 0xF0 == 0x40):
        # Anything but a comparison of 64 bits with it, which only asks whether it is there.
        uses.loads[target].add(base + position)


def _in_linkage(uses: SlotUses, data: bytes, base: int, position: int, target: Any) -> None:
    if data[position] == 0xFF and data[position + 1] == 0x25:
        first = max(0, position - _LONGEST_STUB)
        before = _STUB.search(data[first:position])
        start = first + before.start() if before else position
        for entry in range(start, position + 1):
            uses.stubs[base + entry] = target
    elif (data[max(0, position - 1):position + 2] == _RETPOLINE_LOAD
            and data[position + _REFERENCE_SIZE:position + _REFERENCE_SIZE + 1] in _RETPOLINE_GOES_ON):
        uses.stubs[base + position - 1] = target
    else:
        # A stub of a kind that is not known: who knows how it is entered.
        uses.jumps[target].add(base + position)
