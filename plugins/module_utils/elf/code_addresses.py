# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that the code of a position-independent file computes.

Code takes the address of what lies near relative to itself.  With
``-mcmodel=large`` nothing is near: code holds the distance of a function, or of
its PLT stub, from the global offset table, and adds it to the address of the
table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arch import code

if TYPE_CHECKING:
    from .image import ElfImage

_TABLES = (".got", ".got.plt")
DT_PLTGOT = 3


def near_addresses(image: ElfImage) -> set[int]:
    """The link-time addresses that code of the file takes relative to itself, a set: too many, never too few."""
    addresses: set[int] = set()
    for section in image.code_sections():
        found = code.near_addresses(image.section_data(section))
        addresses.update(section.address + offset for _place, offset in found)
    return addresses


def far_addresses(image: ElfImage) -> set[int]:
    """The same for those that it may compute from such a distance, be it only to call what is there."""
    tables = _offset_tables(image)
    addresses: set[int] = set()
    for section in image.code_sections():
        for distance in code.distances(image.section_data(section)):
            addresses.update(table + distance for table in tables)
    return addresses


def _offset_tables(image: ElfImage) -> set[int]:
    """Where the linker may have put _GLOBAL_OFFSET_TABLE_, a set of addresses: a stripped file does not tell."""
    tables = {section.address for section in map(image.section, _TABLES) if section is not None}
    named = image.dynamic_value(DT_PLTGOT)
    return tables if named is None else tables | {named}
