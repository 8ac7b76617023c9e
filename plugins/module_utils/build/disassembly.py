# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where instructions end, by capstone.

The addend of a reference relative to the instruction pointer counts from the instruction's end, which lies 4 to 8 bytes
behind the field: ``movl $1, x(%rip)`` has its immediate there.
"""

from __future__ import annotations

from typing import Any

from ..errors import MissingDependency

_decoder: Any = None


def _capstone() -> Any:
    global _decoder  # noqa: PLW0603  (made once: importing it takes longer than decoding a library)
    if _decoder is None:
        try:
            import capstone
        except ImportError as error:
            raise MissingDependency("capstone", "python3-capstone") from error
        _decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return _decoder


def instruction_ends(code: bytes, offsets: list[int]) -> dict[int, int]:
    """{offset: end of the instruction that holds it}, for those of ``offsets`` (ascending) that lie in instructions."""
    decoder = _capstone()
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
