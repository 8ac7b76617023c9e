# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites: the places at which a function is hooked, as they are verified from outside.

There are several kinds (native/runtime/site.h).  Whoever verifies hooks asks a
kind where the bytes of a hook lie, and whether those that differ can be put
back without harm; what a kind writes, and in what order, only the runtime knows.
"""

from __future__ import annotations

from typing import Any, Iterable

from .. import abi


class Padding:
    """The padding before a function and at its entry, and the trampoline in it (native/runtime/site_padding.c)."""

    # Where the instructions of the jump through the slot begin, and behind which of the hops' bytes they lie: offsets
    # into the hook's code, without and with an endbr64 at the entry.
    _STARTS = (frozenset((8,)), frozenset((2, 9)))
    _ENTRY = (abi.PAD_BEFORE, abi.PAD_BEFORE + 4)
    _TRAMPOLINE = 1
    _FIRST = 2

    @staticmethod
    def start(hook: Any) -> int:
        """The address of the first byte of ``hook.code``.

        :param hook: named tuple of abi.HOOK.
        """
        return hook.function - abi.PAD_BEFORE

    @classmethod
    def is_in_use(cls, hook: Any, differing: Iterable[int]) -> bool:
        """Whether threads may stand in the middle of code that is not as it was left.

        :param differing: offsets into ``hook.code`` of the bytes that differ.
        """
        endbr = hook.relied >> 2 & 1
        if not any(cls._FIRST <= index < abi.PAD_BEFORE and index not in cls._STARTS[endbr] for index in differing):
            return False
        hops = [index for index in (cls._TRAMPOLINE, cls._ENTRY[endbr]) if hook.relied >> index & 1]
        return any(index not in differing for index in hops)


def kind_of(hook: Any) -> Any:
    """The kind of site of ``hook``, a named tuple of abi.HOOK."""
    del hook
    return Padding
