# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jumps in code whose target is computed: through a register, a table, or a return to an address just stored.

With ``return table[i](x)`` a function goes on in any function whose address
somebody has taken.  The jump of a ``switch`` stays in its function, and is told
from others by how compilers compute its target.  The retpoline of
-mindirect-branch=thunk and -mretpoline stores a register over its own return
address and returns.

Source: Intel SDM volume 2 (JMP, RET, MOV, MOVSXD, ADD, CDQE).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Container

from .instructions import REL32, instruction_starts

# JMP ff /4 with any operand but one relative to RIP: that one leads through a word that is known.
_INDIRECT = rb"\xff(?:[\x20-\x24\x26\x27\x60-\x67\xa0-\xa7\xe0-\xe7])"
# mov %reg, (%rsp); ret.  lea 8(%rsp), %rsp; ret.  push %reg; ret.
_BY_RETURN = rb"[\x48\x4c]\x89[\x04\x0c\x14\x1c\x24\x2c\x34\x3c]\x24\xc3|\x48\x8d\x64\x24\x08\xc3|[\x50-\x57]\xc3"
_INDIRECT_JUMP = re.compile(_INDIRECT)
_COMPUTED = re.compile(rb"(?=(" + _INDIRECT + rb"|" + _BY_RETURN + rb"))", re.DOTALL)
# A function that is nothing but such a jump: call over pause, lfence and a jump back to it, as gcc and clang do; or
# an lfence and a jump.
_THUNK = re.compile(rb"\xe8....\xf3\x90\x0f\xae\xe8\xeb|\x0f\xae\xe8\x41?\xff[\xe0-\xe7]", re.DOTALL)

# mov word(%rip), %reg; then perhaps a test whether it is zero, which jumps away; then the jump.  So does crtbegin.o, of
# every library that gcc has linked.
_THROUGH_WORD = re.compile(
    rb"([\x48\x4c])\x8b([\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(....)(?:[\x48\x4d]\x85[\xc0-\xff]\x74.)?\Z", re.DOTALL)
_LONGEST_THROUGH_WORD = 12

# How far before the jump of a switch the compilers load its distance from the table.
_SWITCH_INSTRUCTIONS = 8
_CDQE = b"\x48\x98"


def computed_jumps(code: bytes) -> list[int]:
    """Where the code of a section may hold such a jump: an ascending list of offsets in bytes, most of them false."""
    return [match.start() for match in _COMPUTED.finditer(code)]


def thunks(code: bytes) -> list[int]:
    """Where in the code of a section there is what a function does that only jumps to where a register points."""
    return [match.start() for match in _THUNK.finditer(code)]


def indirect_jumps(code: bytes, begins: Container[int] | None) -> list[int]:
    """Where in a function there are jumps to where a register or a table points, in bytes from its start.

    :param code: all bytes of the function.
    :param begins: what instruction_starts() gave for them; with None all that looks like such a jump is one.
    """
    return [match.start() for match in _INDIRECT_JUMP.finditer(code)
            if begins is None or _first_byte(code, match.start(), begins) is not None]


def may_leave(code: bytes, address: int, imported: Container[int]) -> bool:
    """Whether a function may go on in another one of its file by a computed jump.

    :param code: all bytes of the function.
    :param address: where it begins, link-time.
    :param imported: the addresses of the words that the loader fills with what other files define.
    """
    begins = instruction_starts(code)
    ascending = sorted(begins or ())
    for match in _COMPUTED.finditer(code):
        place = match.start()
        if begins is None:
            return True
        first = _first_byte(code, place, begins)
        if first is None:
            continue
        if match.group(1)[0] != 0xFF:
            return True
        if not _is_switch(code, ascending, first, place) and not _is_import(code, address, first, place, imported):
            return True
    return False


def _first_byte(code: bytes, place: int, begins: Container[int]) -> int | None:
    """Where the jump with its opcode at ``place`` begins, a prefix included, or None: no instruction does there."""
    first = next((start for start in (place, place - 1, place - 2) if start in begins), None)
    return first if first is not None and _is_prefix(code[first:place]) else None


def _is_prefix(code: bytes) -> bool:
    return all(byte in (0x3E, 0x2E, 0xF2) or byte & 0xF0 == 0x40 for byte in code)


def _register(code: bytes, first: int, place: int) -> int | None:
    """The number of the register that holds the target of the jump at ``place``, or None: it is no register."""
    if code[place + 1] & 0xF8 != 0xE0:
        return None
    return code[place + 1] & 7 | (8 if place > first and code[place - 1] & 0xF1 == 0x41 else 0)


def _is_import(code: bytes, address: int, first: int, place: int, imported: Container[int]) -> bool:
    """Whether the register of the jump at ``place`` was loaded right before with what another file defines."""
    begin = max(0, first - _LONGEST_THROUGH_WORD)
    loaded = _THROUGH_WORD.search(code[begin:first])
    if loaded is None:
        return False
    register = loaded.group(2)[0] >> 3 | (8 if loaded.group(1) == b"\x4c" else 0)
    word = address + begin + loaded.end(3) + REL32.unpack(loaded.group(3))[0]
    return register == _register(code, first, place) and word in imported


def _is_switch(code: bytes, begins: list[int], first: int, place: int) -> bool:
    """Whether what the jump at ``place``, its prefixes from ``first`` on, leads by is a distance from a table."""
    register = _register(code, first, place)
    if register is None:
        return False
    index = bisect_left(begins, first)
    before = begins[max(0, index - _SWITCH_INSTRUCTIONS):index]
    added = loaded = False
    for begin in before:
        added = added or _adds_to(code, begin, register)
        loaded = loaded or _loads_distance(code, begin)
    return added and loaded


def _adds_to(code: bytes, begin: int, register: int) -> bool:
    """Whether the instruction is an ADD of a 64-bit register to that one."""
    rex, opcode, modrm = code[begin:begin + 3].ljust(3, b"\0")
    if rex & 0xF8 != 0x48 or modrm < 0xC0:
        return False
    if opcode == 0x01:
        return (modrm & 7 | (rex & 1) << 3) == register
    return opcode == 0x03 and (modrm >> 3 & 7 | (rex & 4) << 1) == register


def _loads_distance(code: bytes, begin: int) -> bool:
    """Whether the instruction extends 4 bytes of a table to 8: MOVSXD from base + 4 * index, or CDQE."""
    rex, opcode, modrm, scale = code[begin:begin + 4].ljust(4, b"\0")
    if rex & 0xF8 == 0x48 and opcode == 0x63:
        return modrm < 0xC0 and modrm & 7 == 4 and scale >> 6 == 2
    return code[begin:begin + 2] == _CDQE
