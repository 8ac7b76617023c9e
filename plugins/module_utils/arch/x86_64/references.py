# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change how an instruction refers to something: in the code of an object, where a relocation stands at ``at``.

Sources: the AMD64 supplement of the System V ABI, sections 3.5 (code models) and 6 (thread-local storage), and table
11.10 (from initial-exec to local-exec); Intel SDM, volume 2, for the instructions.
"""

from __future__ import annotations

# The text of a thunk, for the assembler: it jumps through a word.
THUNK = """\
.globl {thunk}
.hidden {thunk}
.type {thunk}, @function
.balign 16
{thunk}:
.cfi_startproc
endbr64
jmp *{slot}(%rip)
.cfi_endproc
.size {thunk}, .-{thunk}
"""

_LOAD = 0x8B  # mov word, %r
_ADDRESS = 0x8D  # lea
_ADD = 0x03
# Of an immediate operand: mov $value, %r, and the group that add $value, %r belongs to.
_MOVE = 0xC7
_ADD_IMMEDIATE = 0x81


def goes_there(data: bytearray, at: int) -> bool:
    """Whether the instruction is a call, a jump or a conditional jump."""
    opcode, last = data[at - 2:at]
    return last in (0xE8, 0xE9) or (opcode == 0x0F and 0x80 <= last <= 0x8F)


def load_instead(data: bytearray, at: int) -> bool:
    """``lea x(%rip), %r`` becomes ``mov x(%rip), %r``; whether it was one."""
    rex, opcode, modrm = data[at - 3:at]
    if rex & 0xF8 != 0x48 or opcode != _ADDRESS or modrm & 0xC7 != 5:
        return False
    data[at - 2] = _LOAD
    return True


def move_instead(data: bytearray, at: int, value: int) -> bool:
    """``lea x(%rip), %r`` becomes ``mov $value, %r``; whether it was one."""
    rex, opcode, modrm = data[at - 3:at]
    if rex & 0xFB != 0x48 or opcode != _ADDRESS or modrm & 0xC7 != 5:
        return False
    _immediate(data, at, _MOVE, value)
    return True


def load_whole_address(data: bytearray, at: int) -> int | None:
    """``movabs $x, %r`` becomes ``mov x(%rip), %r``, and a nop of 3 bytes.

    :return: how many bytes behind ``at`` its distance lies; None: it was no such instruction.
    """
    rex, opcode = data[at - 2:at]
    if rex & 0xFE != 0x48 or not 0xB8 <= opcode <= 0xBF:
        return None
    data[at - 2] = 0x48 | (rex & 1) << 2
    data[at - 1] = _LOAD
    data[at] = 0x05 | (opcode & 7) << 3
    data[at + 1:at + 5] = bytes(4)
    data[at + 5:at + 8] = b"\x0f\x1f\x00"
    return 1


def add_instead(data: bytearray, at: int, distance: int) -> bool:
    """``add x(%rip), %r`` and ``mov x(%rip), %r`` become those of an immediate; whether it was one of them."""
    rex, opcode, modrm = data[at - 3:at]
    if rex & 0xFB != 0x48 or opcode not in (_ADD, _LOAD) or modrm & 0xC7 != 5:
        return False
    _immediate(data, at, _ADD_IMMEDIATE if opcode == _ADD else _MOVE, distance)
    return True


def is_descriptor(data: bytearray, at: int) -> bool:
    """Whether it is ``lea x(%rip), %rax``, as the address of a TLS descriptor is always taken."""
    return data[at - 3:at] == b"\x48\x8d\x05"


def drop_descriptor_call(data: bytearray, at: int) -> None:
    """``call *(%rax)`` becomes ``xchg %ax, %ax``: the distance is there already."""
    data[at:at + 2] = b"\x66\x90"


def set_distance(data: bytearray, at: int, distance: int) -> None:
    """The field becomes ``distance``."""
    data[at:at + 4] = distance.to_bytes(4, "little", signed=True)


def _immediate(data: bytearray, at: int, opcode: int, value: int) -> None:
    rex, _opcode, modrm = data[at - 3:at]
    # The register is where another operand was.
    data[at - 3] = 0x48 | (rex & 4) >> 2
    data[at - 2] = opcode
    data[at - 1] = 0xC0 | (modrm & 0x38) >> 3
    set_distance(data, at, value)
