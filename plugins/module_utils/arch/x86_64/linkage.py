# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What code does with the words that the loader fills, and the stubs that linkers make for them.

Sources: the AMD64 supplement of the System V ABI (PLT); Intel SDM volume 2 (CALL, CMP, JMP, PUSH, TEST).
"""

from __future__ import annotations

import re
from typing import Iterator

from .instructions import REL32

# What an instruction does with the word that it refers to.
CALLS, JUMPS, LOADS, COMPARES = "calls", "jumps", "loads", "compares"

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

# trm.S: mov slot(%rip), %rax; ret, perhaps behind an endbr64.
_TRM_FUNCTION = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?\x48\x8b\x05....\xc3", re.DOTALL)
TRM_FUNCTION_SIZES = (8, 12)


def word_references(code: bytes) -> Iterator[tuple[int, int]]:
    """(place, offset of the word) of all that may be an instruction with an operand in memory near by.

    A place is where word_use() and stub_entries() look for the instruction; both are offsets into ``code``.
    """
    for match in _REFERENCE.finditer(code):
        yield match.start(), match.start() + _REFERENCE_SIZE + REL32.unpack(match.group(3))[0]


def word_use(code: bytes, place: int) -> str:
    """What the instruction at ``place`` does with the word: CALLS, JUMPS, LOADS or COMPARES."""
    opcode, operation = code[place], code[place + 1] >> 3 & 7
    if opcode == 0xFF and operation == 2:
        return CALLS
    if opcode == 0xFF and operation in (4, 6):
        # A jump; or a push, behind which a return may follow.
        return JUMPS
    if opcode in (0x39, 0x3B, 0x85) and place and code[place - 1] & 0xF0 == 0x40:
        # With all of its 64 bits: whether it is there.
        return COMPARES
    return LOADS


def stub_entries(code: bytes, place: int) -> range | None:
    """Where the linker's stub can be entered that jumps through the word to which ``place`` refers.

    :param code: bytes of a section of stubs.
    :return: offsets into it, or None: no linker that is known makes such a stub.
    """
    if code[place] == 0xFF and code[place + 1] == 0x25:
        first = max(0, place - _LONGEST_STUB)
        before = _STUB.search(code[first:place])
        return range(first + before.start() if before else place, place + 1)
    if (code[max(0, place - 1):place + 2] == _RETPOLINE_LOAD
            and code[place + _REFERENCE_SIZE:place + _REFERENCE_SIZE + 1] in _RETPOLINE_GOES_ON):
        return range(place - 1, place)
    return None


def is_trm_function(code: bytes) -> bool:
    """Whether ``code``, of one of the TRM_FUNCTION_SIZES in bytes, is the function of trm.S."""
    return _TRM_FUNCTION.match(code) is not None
