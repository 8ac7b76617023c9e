# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instructions, as Capstone decodes them.

Only whoever makes a livepatch needs Capstone: no module of this package is imported where livepatches are applied.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Iterator

from ..errors import MissingDependency


@lru_cache(maxsize=None)
def capstone() -> Any:
    """The module capstone; MissingDependency where it is not installed."""
    try:
        import capstone as module
    except ImportError as error:
        raise MissingDependency("capstone", "python3-capstone") from error
    return module


@lru_cache(maxsize=None)
def _decoder(detail: bool) -> Any:
    module = capstone()
    decoder = module.Cs(module.CS_ARCH_X86, module.CS_MODE_64)
    decoder.detail = detail
    # What is no instruction is stepped over, byte by byte.
    decoder.skipdata = not detail
    return decoder


def outline(code: bytes, address: int) -> Iterator[tuple[int, int, str, str]]:
    """(address, length, mnemonic, operands) of each instruction; five times as fast as instructions().

    :param code: bytes.
    :param address: the link-time address of the first.
    """
    yield from _decoder(False).disasm_lite(code, address)


def instructions(code: bytes, address: int) -> Iterator[Any]:
    """The instructions as capstone.CsInsn with all details, up to the first that cannot be decoded."""
    yield from _decoder(True).disasm(code, address)


def operation(mnemonic: str) -> str:
    """The mnemonic without prefixes such as ``notrack`` and ``bnd``."""
    return mnemonic.rpartition(" ")[2]


def is_jump(mnemonic: str) -> bool:
    """Whether it is a jump, conditional or not."""
    name = operation(mnemonic)
    return name.startswith(("j", "loop"))


def is_padding(mnemonic: str) -> bool:
    """Whether compilers and linkers fill gaps with it."""
    return operation(mnemonic) in ("nop", "int3", "fnop") or mnemonic.endswith("nop")


def near_operand(instruction: Any) -> int | None:
    """The link-time address that an instruction has as an operand relative to itself, or None.

    :param instruction: capstone.CsInsn with all details.
    """
    x86 = capstone().x86
    for operand in instruction.operands:
        if operand.type == x86.X86_OP_MEM and operand.mem.base == x86.X86_REG_RIP:
            return int(instruction.address + instruction.size + operand.mem.disp)
    return None


def direct_target(operands: str) -> int | None:
    """Where a jump or call with these operands leads, link-time, or None: that is computed."""
    return int(operands, 16) if operands.startswith("0x") else None
