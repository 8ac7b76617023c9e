# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What instructions do to the stack pointer, and which of them need memory that is aligned.

Sources: Intel SDM volume 1, 4.1.1 (alignment of operands) and 14.9 (of those of AVX); volume 2 (PUSH, POP, LEAVE);
AMD64 supplement of the System V ABI, section 3.2.2 (a stack pointer is a multiple of 16 before a call).
"""

from __future__ import annotations

import re

from .disassembler import operation

STACK_ALIGNMENT = 16  # bytes

_NUMBER = r"(?P<number>-?(?:0x[0-9a-f]+|[0-9]+))"
_ADDED = re.compile(rf"rsp, {_NUMBER}")
_LOADED = re.compile(r"rsp, \[(?P<base>rsp|rbp) (?P<sign>[+-]) (?P<number>0x[0-9a-f]+|[0-9]+)\]")
# Operands of so many bytes have to be aligned, but for these instructions, and for most with a VEX or EVEX prefix.
_ALIGNED_OPERAND = re.compile(r"\b[xyz]mmword ptr (?!\[rip )")
_UNALIGNED = ("movu", "movdqu", "lddqu", "rep ")
_ALIGNED_OF_AVX = ("vmova", "vmovdqa", "vmovnt")


def aligns(mnemonic: str, operands: str) -> bool:
    """Whether the stack pointer is a multiple of 16 behind the instruction, whatever it was."""
    match = _ADDED.fullmatch(operands) if operation(mnemonic) == "and" else None
    return match is not None and int(match.group("number"), 0) % STACK_ALIGNMENT == 0


def lowered(mnemonic: str, operands: str, frame: int | None) -> int | None:
    """By how many bytes an instruction lowers the stack pointer, or None: that can't be told.

    :param frame: how many bytes the frame pointer lies above the stack pointer, or None: that is not known.
    """
    name = operation(mnemonic)
    if name.startswith("push"):
        return 8
    if name.startswith("pop") and name != "popcnt":
        return -8
    if name == "leave":
        return None if frame is None else -frame - 8
    if not operands.startswith("rsp,"):
        return 0
    match = _ADDED.fullmatch(operands)
    if match is not None and name in ("sub", "add"):
        number = int(match.group("number"), 0)
        return number if name == "sub" else -number
    match = _LOADED.fullmatch(operands)
    if match is not None and name == "lea":
        raised = int(match.group("number"), 0) * (1 if match.group("sign") == "+" else -1)
        if match.group("base") == "rsp":
            return -raised
        return None if frame is None else -frame - raised
    if name == "mov" and operands == "rsp, rbp":
        return None if frame is None else -frame
    return None if name not in ("cmp", "test") else 0


def needs_alignment(mnemonic: str, operands: str) -> bool:
    """Whether an operand in memory, other than at a fixed place, has to be aligned to as many bytes as it has."""
    if _ALIGNED_OPERAND.search(operands) is None or mnemonic.startswith(_UNALIGNED):
        return False
    return not mnemonic.startswith("v") or mnemonic.startswith(_ALIGNED_OF_AVX)
