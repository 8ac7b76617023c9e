# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites: the places at which a function is hooked, as they are verified from outside.

There are several kinds (native/runtime/site.h).  Whoever verifies hooks asks a
kind where the bytes of a hook lie, and whether those that differ can be put
back without harm; what a kind writes, and in what order, only the runtime knows.
"""

from __future__ import annotations

import struct
from typing import Any, Iterable
from zlib import crc32

from .. import abi
from ..arch.code import JUMP_OPCODE, JUMP_SIZE, SHORT_JUMP_SIZE
from ..arch.padding import ENTRY_HOP, SLOT_JUMP_STARTS, TRAMPOLINE, TRAMPOLINE_HOP
from ..named_tuple import NamedTuple


class Piece(NamedTuple):
    """Code of the runtime that a hook needs: ``size`` bytes at ``address`` with the CRC-32 ``checksum``."""

    address: int
    size: int
    checksum: int


class Padding:
    """The padding before a function and at its entry, and the trampoline in it (native/runtime/site_padding.c)."""

    @staticmethod
    def start(hook: Any) -> int:
        """The address of the first byte of ``hook.code``.

        :param hook: named tuple of abi.HOOK.
        """
        return hook.function - abi.PAD_BEFORE

    @staticmethod
    def is_sound(hook: Any, text_start: int, text_end: int) -> bool:
        """Whether ``hook`` can be what it says it is.

        :param text_start, text_end: absolute addresses of the runtime's code.
        """
        del text_start, text_end
        return 0 < hook.relied < 1 << abi.HOOK_CODE

    @staticmethod
    def elsewhere(hook: Any) -> tuple[Piece, ...]:
        """What the hook needs other than its own bytes, its slot and its stub."""
        del hook
        return ()

    @staticmethod
    def way_in(hook: Any) -> tuple[int, ...]:
        """Addresses of single instructions outside of the runtime that lead into it: whoever is there is on the way."""
        del hook
        return ()

    @staticmethod
    def is_in_use(hook: Any, differing: Iterable[int]) -> bool:
        """Whether threads may stand in the middle of code that is not as it was left.

        :param differing: offsets into ``hook.code`` of the bytes that differ.
        """
        endbr = hook.relied >> 2 & 1
        starts = SLOT_JUMP_STARTS[endbr]
        if not any(len(TRAMPOLINE) <= index < abi.PAD_BEFORE and index not in starts for index in differing):
            return False
        hops = [index for index in (TRAMPOLINE_HOP, ENTRY_HOP[endbr]) if hook.relied >> index & 1]
        return any(index not in differing for index in hops)


class Pun:
    """An instruction of a function without padding (native/runtime/site_pun.c); methods as those of Padding.

    Once nothing is replaced any more its hook is undone on purpose: then it relies on nothing.
    """

    # Bytes at the site that the hook relies on.
    _RELIED = JUMP_SIZE
    # What may stand before the instruction: an endbr64, nops and pushes.
    _LONGEST_WAY_IN = 32

    @staticmethod
    def start(hook: Any) -> int:
        return hook.start

    @classmethod
    def is_sound(cls, hook: Any, text_start: int, text_end: int) -> bool:
        return (hook.relied < 1 << cls._RELIED
                and 0 <= hook.start - hook.function <= cls._LONGEST_WAY_IN
                and text_start <= hook.cell <= text_end - abi.CELL_SIZE
                and hook.frame % 8 == 0 and 8 <= hook.frame <= 8 + 8 * cls._LONGEST_WAY_IN)

    @staticmethod
    def elsewhere(hook: Any) -> tuple[Piece, ...]:
        return (
            Piece(hook.landing, abi.LANDING_SIZE, hook.landing_checksum),
            Piece(hook.cell, abi.CELL_SIZE, hook.cell_checksum),
        )

    @staticmethod
    def way_in(hook: Any) -> tuple[int, ...]:
        return (hook.landing,)

    @staticmethod
    def is_in_use(hook: Any, differing: Iterable[int]) -> bool:
        # A thread finds either the jump or the instruction that it stands for.
        del hook, differing
        return False


class Short(Pun):
    """A pun by way of a gap between functions, whose jump stays once it was written."""

    _RELIED = SHORT_JUMP_SIZE
    _DISTANCE = struct.Struct("<i")

    @classmethod
    def is_sound(cls, hook: Any, text_start: int, text_end: int) -> bool:
        return (super().is_sound(hook, text_start, text_end)
                and cls._jump(hook)[:1] == JUMP_OPCODE
                and -128 <= cls._gap(hook) - (hook.start + SHORT_JUMP_SIZE) <= 127)

    @classmethod
    def elsewhere(cls, hook: Any) -> tuple[Piece, ...]:
        jump = cls._jump(hook)
        return (*super().elsewhere(hook), Piece(cls._gap(hook), len(jump), crc32(jump)))

    @classmethod
    def way_in(cls, hook: Any) -> tuple[int, ...]:
        return (*super().way_in(hook), cls._gap(hook))

    @staticmethod
    def _jump(hook: Any) -> bytes:
        """The bytes of the jump in the gap."""
        return bytes(hook.code[SHORT_JUMP_SIZE:SHORT_JUMP_SIZE + JUMP_SIZE])

    @classmethod
    def _gap(cls, hook: Any) -> int:
        """The address of the gap: the jump there leads to the landing."""
        (distance,) = cls._DISTANCE.unpack_from(cls._jump(hook), len(JUMP_OPCODE))
        return hook.landing - JUMP_SIZE - distance


_KINDS = {abi.HOOK_PADDING: Padding, abi.HOOK_PUN: Pun, abi.HOOK_SHORT: Short}


def kind_of(hook: Any) -> Any:
    """The kind of site of ``hook``, a named tuple of abi.HOOK: a class as Padding; None: it is not known."""
    return _KINDS.get(hook.kind)
