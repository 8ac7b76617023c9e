# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instructions of x86-64, as Capstone decodes them.

Only whoever makes a livepatch needs Capstone: nothing that applies livepatches imports this.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Iterator

from ...errors import MissingDependency

# What a function ends with whose end nobody runs over.
ENDS = ("ret", "jmp", "ud2", "hlt", "call")


@lru_cache(maxsize=None)
def capstone() -> Any:
    """The module capstone; MissingDependency where it is not installed."""
    try:
        import capstone as module
    except ImportError as error:
        raise MissingDependency("capstone", "python3-capstone") from error
    return module


@lru_cache(maxsize=None)
def _decoder(detail: bool, skips: bool) -> Any:
    module = capstone()
    decoder = module.Cs(module.CS_ARCH_X86, module.CS_MODE_64)
    decoder.detail = detail
    # What is no instruction is stepped over, byte by byte.
    decoder.skipdata = skips
    return decoder


def outline(code: bytes, address: int) -> Iterator[tuple[int, int, str, str]]:
    """(address, length, mnemonic, operands) of each instruction; five times as fast as instructions().

    :param code: bytes.
    :param address: the link-time address of the first.
    """
    yield from _decoder(False, True).disasm_lite(code, address)


def instructions(code: bytes, address: int) -> Iterator[Any]:
    """The instructions as capstone.CsInsn with all details, up to the first that cannot be decoded."""
    yield from _decoder(True, False).disasm(code, address)


def instruction_ends(code: bytes, offsets: list[int]) -> dict[int, int]:
    """{offset: end of the instruction that holds it}, for those of ``offsets`` (ascending) that lie in instructions.

    The addend of a reference relative to the instruction pointer counts from there, 4 to 8 bytes behind the field:
    ``movl $1, x(%rip)`` has its immediate there.
    """
    decoder = _decoder(False, False)
    ends = {}
    wanted = iter(offsets)
    offset = next(wanted, None)
    position = 0
    while position < len(code) and offset is not None:
        start = position
        for address, size, _mnemonic, _operands in decoder.disasm_lite(code[position:], position):
            position = address + size
            while offset is not None and offset < position:
                if offset >= address:
                    ends[offset] = position
                offset = next(wanted, None)
            if offset is None:
                break
        # Data among code: go on behind it.
        position = max(position, start + 1) if position == start else position
    return ends


def operation(mnemonic: str) -> str:
    """The mnemonic without prefixes such as ``notrack`` and ``bnd``."""
    return mnemonic.rpartition(" ")[2]


def is_jump(mnemonic: str) -> bool:
    """Whether it is a jump, conditional or not."""
    name = operation(mnemonic)
    return name.startswith(("j", "loop"))


def may_lead_to(mnemonic: str) -> bool:
    """Whether execution may go on at its operand without a call: a jump, or where an aborted transaction goes on."""
    return is_jump(mnemonic) or operation(mnemonic) == "xbegin"


def is_padding(mnemonic: str) -> bool:
    """Whether compilers and linkers fill gaps with it."""
    return operation(mnemonic) in ("nop", "int3", "fnop") or mnemonic.endswith("nop")


def direct_target(operands: str) -> int | None:
    """Where a jump or call with these operands leads, link-time, or None: that is computed."""
    return int(operands, 16) if operands.startswith("0x") else None


def loaded_address(mnemonic: str, operands: str, behind: int) -> int | None:
    """The address that an instruction computes from its own (``lea 0x10(%rip)``), or None; ``behind`` is its end."""
    return _behind(operands, behind) if operation(mnemonic) == "lea" and "[rip " in operands else None


def _behind(operands: str, behind: int) -> int:
    """The address of ``[rip + 0x10]`` in the operands of an instruction with the end ``behind``."""
    sign, _separator, number = operands.partition("[rip ")[2].partition(" ")
    distance = int(number.rstrip("]"), 0)
    return behind + (distance if sign == "+" else -distance)


def table_address(operands: str) -> int | None:
    """The address of ``[rax*8 + 0x4a000]`` in the operands of a jump through a table of addresses, or None."""
    return int(operands.rpartition("+ ")[2].rstrip("]"), 16) if "*8 + 0x" in operands else None
