# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can an instruction move to a cell, and what becomes of it there?

Sources: Intel SDM volume 2 (CALL, Jcc, JMP, PUSH, SUB, SYSCALL); AMD64 supplement of the System V ABI, figure 3.4
(registers that belong to the caller).
"""

from __future__ import annotations

from typing import Any, Collection

from ...named_tuple import NamedTuple
from .disassembler import capstone, direct_target, operation
from .instructions import JUMP, OF_CALLER, PLAIN, RIP_RELATIVE

_PUSHED = 8  # bytes

# Names of registers of the caller, and of parts of them.
_OF_CALLER = {
    name: register
    for register, names in zip(OF_CALLER, (
        "rbx ebx bx bl bh", "rbp ebp bp bpl", "r12 r12d r12w r12b", "r13 r13d r13w r13b", "r14 r14d r14w r14b",
        "r15 r15d r15w r15b",
    ))
    for name in names.split()
}

_REFUSED = {
    "call": "is a call", "lcall": "is a call", "syscall": "is a system call", "sysenter": "is a system call",
    "int": "is an interrupt", "int1": "is an interrupt", "int3": "is a breakpoint", "hlt": "stops the processor",
    "ud0": "is no valid one", "ud1": "is no valid one", "ud2": "is no valid one", "xbegin": "begins a transaction",
    "xabort": "ends a transaction", "xend": "ends a transaction", "ljmp": "is a far jump",
}


class Moved(NamedTuple):
    """What becomes of an instruction in a cell; ``form`` and ``displacement`` as in elf.site.Site.

    ``lowered``: by how many bytes it lowers the stack pointer.  ``overwrites``: as in elf.site.Site.
    """

    form: str
    displacement: int
    lowered: int
    overwrites: str = ""


class Unmovable(Exception):
    """An instruction cannot move; the text, behind *its first instruction*, says why."""


def moved(instruction: Any, saved: Collection[str] = ()) -> Moved:
    """What becomes of ``instruction`` (capstone.CsInsn) in a cell.

    :param saved: names of the registers that pushes before it have saved.
    :return: Moved.
    :raises Unmovable: it can't move.
    """
    name = operation(instruction.mnemonic)
    if name in _REFUSED:
        raise Unmovable(_REFUSED[name])
    if name.startswith(("ret", "iret", "sysret")):
        raise Unmovable("is a return")
    if name != "jmp" and name.startswith(("j", "loop")):
        raise Unmovable("is a conditional jump")
    lowered = _lowered(instruction, name)
    changed = {_OF_CALLER[register] for register in _written(instruction) if register in _OF_CALLER}
    for register in sorted(changed.difference(saved)):
        raise Unmovable(f"changes {register}, which belongs to the caller")
    overwrites = min(changed, default="")
    if name == "jmp" and direct_target(instruction.op_str) is not None:
        if instruction.bytes[0] not in (0xE9, 0xEB):
            raise Unmovable("is a jump with a prefix")
        return Moved(JUMP, 1, 0)
    if "rip" in instruction.op_str:
        displacement = instruction.disp_offset
        if not 0 < displacement <= instruction.size - 4:
            raise Unmovable("has an operand that is not understood")
        return Moved(RIP_RELATIVE, displacement, lowered, overwrites)
    if "eip" in instruction.op_str:
        raise Unmovable("has an operand that is not understood")
    return Moved(PLAIN, 0, lowered, overwrites)


def pushed_register(instruction: Any) -> str | None:
    """The name of the register if it is a push of one, behind which another site may lie."""
    module = capstone()
    if instruction.mnemonic != "push" or instruction.operands[0].type != module.x86.X86_OP_REG:
        return None
    return str(instruction.reg_name(instruction.operands[0].reg))


def is_idle(instruction: Any) -> bool:
    """Whether it changes nothing: a landing pad (endbr64), or a nop."""
    return instruction.mnemonic in ("endbr64", "nop")


def _written(instruction: Any) -> list[str]:
    return [instruction.reg_name(register) for register in instruction.regs_access()[1]]


def _lowered(instruction: Any, name: str) -> int:
    """By how many bytes it lowers the stack pointer; Unmovable where it changes that in another way."""
    if not {"rsp", "esp", "sp", "spl"}.intersection(_written(instruction)):
        return 0
    module = capstone()
    operands = instruction.operands
    if name == "push" and operands[0].size == _PUSHED:
        return _PUSHED
    if (name == "sub" and operands[0].type == module.x86.X86_OP_REG and instruction.reg_name(operands[0].reg) == "rsp"
            and operands[1].type == module.x86.X86_OP_IMM and 0 < operands[1].imm < 1 << 31):
        return operands[1].imm
    raise Unmovable("changes the stack pointer otherwise than by a push or a subtraction")
