# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What instructions do to the registers that a call may change.

A register goes by the name of its 64 bits, a vector register by that of its lowest 128.

Source: AMD64 supplement of the System V ABI, figure 3.4 and section 3.2.3 (which registers pass arguments).
"""

from __future__ import annotations

from typing import Any

from .disassembler import capstone, operation

_PARTS = {
    "rax": "rax eax ax al ah", "rcx": "rcx ecx cx cl ch", "rdx": "rdx edx dx dl dh", "rsi": "rsi esi si sil",
    "rdi": "rdi edi di dil", **{f"r{n}": f"r{n} r{n}d r{n}w r{n}b" for n in range(8, 12)},
    # From 16 on, and the masks: of processors with AVX-512 alone.
    **{f"xmm{n}": f"xmm{n} ymm{n} zmm{n}" for n in range(32)}, **{f"k{n}": f"k{n}" for n in range(8)},
}
_REGISTER = {part: register for register, parts in _PARTS.items() for part in parts.split()}
# What changes the whole register: a write of 32 bits clears the others.
_WHOLE = {
    *_PARTS, "eax", "ecx", "edx", "esi", "edi", *(f"r{n}d" for n in range(8, 12)),
    *(f"{kind}mm{n}" for kind in "yz" for n in range(32)),
}

ALL = frozenset(_PARTS)
ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
VECTOR_ARGUMENTS = tuple(f"xmm{n}" for n in range(8))
RESULTS = frozenset(("rax", "rdx", "xmm0", "xmm1"))
# DWARF numbers, figure 3.36.
NUMBERS = {0: "rax", 1: "rdx", 2: "rcx", 4: "rsi", 5: "rdi", **{n: f"r{n}" for n in range(8, 12)},
           **{17 + n: f"xmm{n}" for n in range(16)}}

# What asks the kernel for something, and what the kernel then changes other than memory (psABI, A.2.1).
SYSTEM_CALLS = ("syscall", "int")
SYSTEM_CALL_CHANGES = frozenset(("rax", "rcx", "r11"))
# Through which the call of a TLS descriptor takes its argument and gives its result; it changes no other.
DESCRIPTOR_REGISTER = "rax"

_CLEARING = ("xor", "pxor", "xorps", "xorpd", "sub", "vpxor", "vxorps", "vxorpd",
             "vpxord", "vpxorq", "kxorb", "kxorw", "kxord", "kxorq")


class Effect:
    """What one instruction does: the registers that it ``reads``, ``changes`` in part, and ``sets`` as a whole."""

    __slots__ = ("changes", "reads", "sets")

    def __init__(self, instruction: Any) -> None:
        """
        :param instruction: capstone.CsInsn.
        """
        read, written = instruction.regs_access()
        names = [instruction.reg_name(register) for register in written]
        self.reads = frozenset(
            _REGISTER[name] for name in map(instruction.reg_name, read) if name in _REGISTER)
        self.changes = frozenset(_REGISTER[name] for name in names if name in _REGISTER)
        self.sets = frozenset(_REGISTER[name] for name in names if name in _WHOLE)
        name = operation(instruction.mnemonic)
        if name in ("vzeroupper", "vzeroall"):
            self.changes = self.changes.union(f"xmm{n}" for n in range(16))
        elif name.endswith("nop") or _clears(instruction, name):
            self.reads = frozenset()
        elif name == "push" and self.reads == {"rax"}:
            # Compilers align the stack so.
            self.reads = frozenset()


def _clears(instruction: Any, name: str) -> bool:
    """Whether the result does not depend on what the registers held."""
    if name not in _CLEARING:
        return False
    kind = capstone().x86.X86_OP_REG
    operands = instruction.operands
    sources = [operand.reg for operand in operands[-2:] if operand.type == kind]
    return len(sources) == 2 and sources[0] == sources[1]
