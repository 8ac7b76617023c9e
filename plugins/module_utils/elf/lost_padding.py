# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that were compiled with padding, but whose entries in the list of paddings the linker has lost.

g++ 12 puts the entries for all functions of an object file into one section,
which belongs to the section of one of them.  Where that is discarded because
another file has the same inline function (COMDAT, gABI chapter 4), the entries
for all the others go with it.  gold with --gc-sections discards all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi import PAD_BEFORE, PAD_ENTRY
from ..arch.padding import ENDBR64, ENTRY_NOPS, MERGED_ENTRY_NOP, is_nops
from ..errors import BadElf
from .symbols import is_function, symbol_label

if TYPE_CHECKING:
    from .image import ElfImage
    from .patchable import PatchableFunction

# Behind "without padding; ", or behind "with padding, ".
REMEDY = "compile it with -fpatchable-function-entry=16,14"
ENTRIES_LOST = (
    "but the linker has lost the entries for it in __patchable_function_entries (GNU ld does so where"
    " object files of g++ have an inline function or a template in common, gold with --gc-sections); link with mold, or"
    " compile C++ with clang++, and with gold leave out --gc-sections"
)


def functions_with_lost_entries(image: ElfImage, functions: list[PatchableFunction]) -> set[str]:
    """The names of the functions whose padding no list knows, a set.

    :param image: ElfImage.
    :param functions: what patchable_functions() gave.
    """
    known = {function.address for function in functions}
    known.update(function.address - PAD_BEFORE for function in functions)
    return {
        symbol_label(symbol) for symbol in image.symbols() + image.dynamic_symbols()
        if is_function(symbol) and symbol.value not in known and _has_padding(image, symbol.value)
    }


def _has_padding(image: ElfImage, address: int) -> bool:
    try:
        if not image.is_executable_address(address) or not is_nops(image.read(address - PAD_BEFORE, PAD_BEFORE)):
            return False
        entry = address
        if image.read(address, len(ENDBR64)) == ENDBR64:
            entry += len(ENDBR64)
        return image.read(entry, PAD_ENTRY) in (ENTRY_NOPS, MERGED_ENTRY_NOP)
    except BadElf:
        return False
