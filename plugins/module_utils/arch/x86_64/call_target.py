# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which function a call of x86-64 has gone to.

Sources: Intel SDM volume 2, CALL and JMP; psABI, figure 5.2 (procedure linkage table).
"""

from __future__ import annotations

from typing import Callable

from .instructions import REL32
from .padding import ENDBR64

_CALL_RELATIVE = b"\xe8"
_CALL_THROUGH_TABLE = b"\xff\x15"
_JUMP_THROUGH_TABLE = b"\xff\x25"
# A prefix that some linkers put before the jump: bnd.
_BND = b"\xf2"


def call_target(return_address: int, read: Callable[[int, int], bytes]) -> int | None:
    """Where the call before ``return_address`` went, through one entry of a procedure linkage table.

    :param read: gives so many bytes at an address, or raises UlpError.
    :return: an address; None: the instruction is not a call whose target can be known afterwards.
    """
    code = read(return_address - 6, 6)
    if code[:2] == _CALL_THROUGH_TABLE:
        return _word(return_address + REL32.unpack(code[2:])[0], read)
    if code[1:2] != _CALL_RELATIVE:
        return None
    target = return_address + REL32.unpack(code[2:])[0]
    entry = read(target, 16)
    position = len(ENDBR64) if entry.startswith(ENDBR64) else 0
    position += entry.startswith(_BND, position)
    if not entry.startswith(_JUMP_THROUGH_TABLE, position):
        return target
    (displacement,) = REL32.unpack_from(entry, position + 2)
    return _word(target + position + 6 + displacement, read)


def _word(address: int, read: Callable[[int, int], bytes]) -> int:
    return int.from_bytes(read(address, 8), "little")
