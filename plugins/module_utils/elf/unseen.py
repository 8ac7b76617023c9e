# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways into a library on which a thread enters unseen.

A thread that enters only there is never seen to enter, and keeps the old
versions of all functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi import PAD_BEFORE
from ..named_tuple import NamedTuple
from .lost_padding import ENTRIES_LOST, functions_with_lost_entries
from .symbols import is_function, symbol_label

if TYPE_CHECKING:
    from .image import ElfImage
    from .patchable import PatchableFunction


class UnseenEntries(NamedTuple):
    """The ``names`` of the functions that are such ways, and ``why`` the first of them is one."""

    names: list[str]
    why: str


def unseen_entries(image: ElfImage, functions: list[PatchableFunction]) -> UnseenEntries | None:
    """What there is in a library that has padding and is not post-processed: post would have refused it.

    :param functions: what patchable_functions() gave.
    :return: UnseenEntries, or None: there is nothing.
    """
    unhookable = [
        function for function in functions
        if function.refusal is not None and (function.exported or function.address_taken)
    ]
    names = [function.label for function in unhookable] + untracked_exports(image, functions)
    if not names:
        return None
    if unhookable:
        return UnseenEntries(names, f"{unhookable[0].label}: {unhookable[0].refusal}")
    lost = functions_with_lost_entries(image, functions)
    return UnseenEntries(names, f"compiled with padding, {ENTRIES_LOST}" if names[0] in lost else "no padding")


def untracked_exports(image: ElfImage, functions: list[PatchableFunction]) -> list[str]:
    """The names of the exported functions, and of labels in code, that have no padding.

    A thread that enters through one of them is not seen to enter.

    :param functions: what patchable_functions() gave.
    """
    covered = {function.address for function in functions}
    covered.update(function.address - PAD_BEFORE for function in functions if function.trampoline)
    # Those with the wrong padding are refused anyway, with a better reason.
    refused = {name for function in functions if function.refusal is not None for name in function.names}
    code = [(section.address, section.address + section.size) for section in image.code_sections()]
    return sorted({
        symbol_label(symbol)
        for symbol in image.dynamic_symbols()
        if symbol.value not in covered and symbol_label(symbol) not in refused and (is_function(symbol) or (
            # A label from assembly code can be called as well.
            symbol.type == "STT_NOTYPE" and symbol.defined
            and any(start <= symbol.value < end for start, end in code)))
    })
