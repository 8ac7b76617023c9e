# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where x86-64 instructions begin.

A scan for the bytes of a short jump finds them in operands too.  Decoding the
lengths of the instructions of one function tells which are real.

Source: Intel SDM volume 2, chapter 2 (instruction format) and appendix A
(opcode maps).
"""

from __future__ import annotations

import struct

# The displacement of a jump, a call or a RIP-relative operand, in bytes; it counts from behind the instruction.
REL32 = struct.Struct("<i")

LONGEST_INSTRUCTION = 15  # bytes, Intel SDM volume 2, 2.3.11
LONGEST_CALL = 7  # bytes, without prefixes

# What becomes of an instruction in a cell: it is copied as it is, its displacement is made to lead to the same place,
# or it is a jump and another one to its target stands for it.
PLAIN = "plain"
RIP_RELATIVE = "rip_relative"
JUMP = "jump"

# AMD64 supplement of the System V ABI, figure 3.4; without rsp, of which the CFA tells.
OF_CALLER = ("rbx", "rbp", "r12", "r13", "r14", "r15")

_LEGACY_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3))
_OPERAND_SIZE = 0x66
_ADDRESS_SIZE = 0x67
_REX_W = 0x48

# For every opcode: m a ModRM byte; b, w, d 1, 2, 4 bytes of immediate; v 4, or 2 with an operand-size prefix;
# q the same but 8 with REX.W; o 8, or 4 with an address-size prefix; f depends on the ModRM byte.


def _opcode_map(*ranges: tuple[int, int, str]) -> dict[int, str]:
    table = {}
    for first, last, operands in ranges:
        for opcode in range(first, last + 1):
            table[opcode] = operands
    return table


_ONE_BYTE = _opcode_map(
    *((base + offset, base + offset, operands)
      for base in range(0x00, 0x40, 8)
      for offset, operands in ((0, "m"), (1, "m"), (2, "m"), (3, "m"), (4, "b"), (5, "v"))),
    (0x50, 0x5F, ""), (0x63, 0x63, "m"), (0x68, 0x68, "v"), (0x69, 0x69, "mv"), (0x6A, 0x6A, "b"), (0x6B, 0x6B, "mb"),
    (0x6C, 0x6F, ""), (0x70, 0x7F, "b"), (0x80, 0x80, "mb"), (0x81, 0x81, "mv"), (0x83, 0x83, "mb"),
    (0x84, 0x8F, "m"), (0x90, 0x99, ""), (0x9B, 0x9F, ""), (0xA0, 0xA3, "o"), (0xA4, 0xA7, ""), (0xA8, 0xA8, "b"),
    (0xA9, 0xA9, "v"), (0xAA, 0xAF, ""), (0xB0, 0xB7, "b"), (0xB8, 0xBF, "q"), (0xC0, 0xC1, "mb"), (0xC2, 0xC2, "w"),
    (0xC3, 0xC3, ""), (0xC6, 0xC6, "mb"), (0xC7, 0xC7, "mv"), (0xC8, 0xC8, "wb"), (0xC9, 0xC9, ""),
    (0xCA, 0xCA, "w"), (0xCB, 0xCC, ""), (0xCD, 0xCD, "b"), (0xCF, 0xCF, ""), (0xD0, 0xD3, "m"), (0xD7, 0xD7, ""),
    (0xD8, 0xDF, "m"), (0xE0, 0xE7, "b"), (0xE8, 0xE9, "d"), (0xEB, 0xEB, "b"), (0xEC, 0xEF, ""), (0xF1, 0xF1, ""),
    (0xF4, 0xF5, ""), (0xF6, 0xF7, "mf"), (0xF8, 0xFD, ""), (0xFE, 0xFF, "m"),
)
_TWO_BYTE = _opcode_map(
    (0x00, 0x03, "m"), (0x05, 0x09, ""), (0x0B, 0x0B, ""), (0x0D, 0x0D, "m"), (0x10, 0x23, "m"), (0x28, 0x2F, "m"),
    (0x30, 0x35, ""), (0x37, 0x37, ""), (0x40, 0x6F, "m"), (0x70, 0x73, "mb"), (0x74, 0x76, "m"), (0x77, 0x77, ""),
    (0x78, 0x7F, "m"), (0x80, 0x8F, "d"), (0x90, 0x9F, "m"), (0xA0, 0xA2, ""), (0xA3, 0xA3, "m"), (0xA4, 0xA4, "mb"),
    (0xA5, 0xA5, "m"), (0xA8, 0xAA, ""), (0xAB, 0xAB, "m"), (0xAC, 0xAC, "mb"), (0xAD, 0xB9, "m"), (0xBA, 0xBA, "mb"),
    (0xBB, 0xC1, "m"), (0xC2, 0xC2, "mb"), (0xC3, 0xC3, "m"), (0xC4, 0xC6, "mb"), (0xC7, 0xC7, "m"), (0xC8, 0xCF, ""),
    (0xD0, 0xFF, "m"),
)
_THREE_BYTE = {0x38: "m", 0x3A: "mb"}


def instruction_starts(code: bytes) -> set[int] | None:
    """Where the instructions in ``code`` begin.

    :param code: bytes of machine code that begin and end between instructions.
    :return: set of offsets in bytes, or None when the bytes cannot be decoded exactly up to their end.
    """
    starts = set()
    position = 0
    while position < len(code):
        starts.add(position)
        try:
            length = _length(code, position)
        except IndexError:
            # The last instruction runs over the end.
            return None
        if length is None:
            return None
        position += length
    return starts if position == len(code) else None


def may_end_with_call(code: bytes) -> bool:
    """Whether the last instruction in ``code`` (bytes, at least the last 7) may be a call: too often, never too seldom.

    Intel SDM volume 2, CALL: e8 with 4 bytes of displacement, and ff /2.
    """
    if code[-5:-4] == b"\xe8":
        return True
    for length in range(2, min(LONGEST_CALL, len(code)) + 1):
        position = len(code) - length
        if code[position] == 0xFF and code[position + 1] & 0x38 == 0x10:
            try:
                if 1 + _modrm_length(code, position + 1) == length:
                    return True
            except IndexError:
                continue
    return False


def looks_like_call(code: bytes) -> bool:
    """The same for the last 7 bytes, without decoding: of more code that is none, but in less time."""
    return code[-5] == 0xE8 or any(
        code[-size] == 0xFF and code[1 - size] & 0x38 == 0x10 for size in range(2, LONGEST_CALL + 1))


def _length(code: bytes, start: int) -> int | None:
    """The length in bytes of the instruction at ``start``, or None for an unknown one; IndexError at the end."""
    position = start
    prefixes = set()
    while code[position] in _LEGACY_PREFIXES:
        prefixes.add(code[position])
        position += 1
    rex = 0
    if code[position] & 0xF0 == 0x40:
        rex = code[position]
        position += 1
    opcode = code[position]
    position += 1
    if opcode in (0xC4, 0xC5, 0x62):
        return _vector_length(code, start, position, opcode)
    operands: str | None
    if opcode == 0x0F:
        opcode = code[position]
        position += 1
        if opcode in _THREE_BYTE:
            operands = _THREE_BYTE[opcode]
            position += 1
        else:
            operands = _TWO_BYTE.get(opcode)
    else:
        operands = _ONE_BYTE.get(opcode)
    if operands is None:
        return None
    wide = rex & _REX_W == _REX_W
    immediate = 2 if _OPERAND_SIZE in prefixes and not wide else 4
    sizes = {
        "b": 1, "w": 2, "d": 4, "v": immediate, "q": 8 if wide else immediate,
        "o": 4 if _ADDRESS_SIZE in prefixes else 8,
    }
    for operand in operands:
        if operand == "m":
            modrm = code[position]
            position += _modrm_length(code, position)
        elif operand == "f":
            # TEST has an immediate, the other instructions of the group have none.
            if modrm & 0x38 in (0x00, 0x08):
                position += 1 if opcode == 0xF6 else immediate
        else:
            position += sizes[operand]
    return position - start


def _vector_length(code: bytes, start: int, position: int, opcode: int) -> int | None:
    """The length of an instruction with VEX (c4, c5) or EVEX (62) prefix; ``position`` is behind that byte."""
    if opcode == 0xC5:
        opcode_map = 1
        position += 1
    elif opcode == 0xC4:
        opcode_map = code[position] & 0x1F
        position += 2
    else:
        opcode_map = code[position] & 0x07
        position += 3
    opcode = code[position]
    position += 1
    if opcode_map == 1:
        operands = _TWO_BYTE.get(opcode)
        if operands == "d":
            operands = None
    elif opcode_map in (2, 5, 6):
        operands = "m"
    elif opcode_map == 3:
        operands = "mb"
    else:
        operands = None
    if operands is None:
        return None
    if "m" in operands:
        position += _modrm_length(code, position)
    if "b" in operands:
        position += 1
    return position - start


def _modrm_length(code: bytes, position: int) -> int:
    """The bytes of a ModRM byte, its SIB byte and displacement."""
    modrm = code[position]
    mode, register = modrm >> 6, modrm & 7
    if mode == 3:
        return 1
    length = 1
    if register == 4:
        length = 2
        if mode == 0 and code[position + 1] & 7 == 5:
            return length + 4
    elif mode == 0 and register == 5:
        return length + 4
    return length + (0, 1, 4)[mode]
