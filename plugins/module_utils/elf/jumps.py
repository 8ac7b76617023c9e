# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jumps, not calls, in the code of an ELF file.

A function that ends with a jump to another one (a tail call) leaves no frame
behind.  A byte scan finds jumps where there are none, but never misses a
direct one, or one through a word that the loader fills in.
"""

from __future__ import annotations

import re
from collections import defaultdict

from ..abi import PAD_BEFORE
from .instructions import ENDBR64, REL32, instruction_starts
from .relocations import R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT
from .symbols import is_function

# A look-ahead finds overlapping matches too: a byte scan cannot know where instructions begin.
JUMP32 = re.compile(rb"(?=(?:\xe9|\x0f[\x80-\x8f])(....))", re.DOTALL)
JUMP8 = re.compile(rb"(?=[\xeb\x70-\x7f](.))", re.DOTALL)
JUMP_BY_SLOT = re.compile(rb"(?=\xff\x25(....))", re.DOTALL)


def jump_targets(image, starts, trampolines, containing):
    """Which patchable functions direct jumps in the library lead to, through its PLT too: a superset.

    :param starts: link-time addresses of the padding of all functions.
    :param trampolines: those of them at which post wrote a trampoline; its own jump does not count.
    :param containing: function that gives (address, size) of the function around an address, or None.
    :return: {link-time address, of a function or of its padding: addresses of the jumps that lead there}.
    """
    wanted = set(starts)
    wanted.update(start + PAD_BEFORE for start in starts)
    decoder = _Decoder(image, containing)
    stubs, targets = _jumps_through_slots(image, slots_of_own_functions(image))
    wanted.update(stubs)
    for section in image.code_sections():
        data = image.section_data(section)
        base = section.address
        for match in JUMP32.finditer(data):
            target = base + match.end(1) + REL32.unpack(match.group(1))[0]
            if target in wanted:
                targets[target].add(base + match.start())
        for match in JUMP8.finditer(data):
            displacement = match.group(1)[0]
            place = base + match.start()
            target = place + 2 + displacement - (256 if displacement > 127 else 0)
            # Two bytes look like a jump often enough: here it pays to ask whether they are an instruction.
            if target in wanted and place not in trampolines and decoder.may_be_instruction(place):
                targets[target].add(place)
    for stub, function in stubs.items():
        if stub in targets:
            targets[function] |= targets[stub]
    return targets


def cycles(jumped, starts, containing):
    """The link-time addresses of the functions from which jumps may lead back to them.

    :param jumped: what jump_targets() gave.
    :param starts: link-time addresses of the padding of all functions.
    :param containing: function that gives (address, size) of the function around an address, or None.
    """
    sources = {}
    for start in starts:
        address = start + PAD_BEFORE
        places = jumped.get(address, set()) | jumped.get(start, set())
        around = {containing(place) for place in places}
        sources[address] = {found[0] for found in around if found is not None}
    return {address for address in sources if _leads_back(address, sources)}


def jumped_imports(image):
    """The names of imported symbols to which code of ``image`` jumps, not calls: a superset."""
    symbols = image.dynamic_symbols()
    slots = {
        relocation.offset: symbols[relocation.symbol].name
        for relocation in image.relocations()
        if relocation.type in (R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT)
        and relocation.symbol < len(symbols) and not symbols[relocation.symbol].defined
    }
    stubs, direct = _jumps_through_slots(image, slots)
    names = set(direct)
    for section in image.code_sections():
        for match in JUMP32.finditer(image.section_data(section)):
            target = section.address + match.end(1) + REL32.unpack(match.group(1))[0]
            if target in stubs:
                names.add(stubs[target])
    return frozenset(names)


def slots_of_own_functions(image):
    """{address of a GOT slot: symbol value} for the functions that the library both defines and imports."""
    symbols = image.dynamic_symbols()
    slots = {}
    for relocation in image.relocations():
        if relocation.type in (R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT):
            if relocation.symbol >= len(symbols):
                raise image.bad("is damaged: a relocation refers to a symbol that does not exist")
            symbol = symbols[relocation.symbol]
            if is_function(symbol):
                slots[relocation.offset] = symbol.value
    return slots


def _jumps_through_slots(image, slots):
    """Jumps through words that the loader fills in.

    :param slots: {address of the word: what it leads to}.
    :return: ({address of a PLT stub: what it leads to}, {what it leads to: addresses of such jumps elsewhere}).
    """
    stubs = {}
    direct = defaultdict(set)
    for section in image.code_sections():
        data = image.section_data(section)
        is_plt = section.name.startswith((".plt", ".iplt"))
        for match in JUMP_BY_SLOT.finditer(data):
            place = match.start()
            target = slots.get(section.address + place + 6 + REL32.unpack(match.group(1))[0])
            if target is None:
                continue
            if is_plt:
                # The stub may begin with a bnd prefix (f2), an endbr64, or both.
                for prefix in (b"", b"\xf2", ENDBR64, ENDBR64 + b"\xf2"):
                    if data.endswith(prefix, 0, place):
                        stubs[section.address + place - len(prefix)] = target
            else:
                direct[target].add(section.address + place)
    return stubs, direct


def _leads_back(address, sources):
    seen = set()
    waiting = [address]
    while waiting:
        for source in sources.get(waiting.pop(), ()):
            if source == address:
                return True
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return False


class _Decoder:
    """Tells whether an instruction begins at an address."""

    def __init__(self, image, containing):
        self._image = image
        self._containing = containing
        self._starts = {}

    def may_be_instruction(self, address):
        """False only where the function around ``address`` decodes exactly, and no instruction begins there."""
        function = self._containing(address)
        if function is None:
            return True
        start, size = function
        if start not in self._starts:
            self._starts[start] = instruction_starts(self._image.read(start, size))
        return self._starts[start] is None or address - start in self._starts[start]
