# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Relocations of relocatable objects, by what they are for, where livepatches are made of objects (``build``).

``RELOCATIONS`` names the types, without their ``PREFIX``; ``SIZES`` are the bytes that those change which do not change
4; ``RELATIVE`` are the names of those whose value is relative to the place.  The others are names, and tuples of names,
of the types that compilers use for one purpose; the comments in x86_64/ say which.  ``R_NONE`` and ``R_DISTANCE`` are
the numbers of the types that we write ourselves, the latter with ``FROM_END`` as its addend.
"""

from __future__ import annotations

from .x86_64.object_relocations import (
    ADDRESSES,
    DESCRIPTOR,
    DESCRIPTOR_CALL,
    DISTANCES,
    FROM_END,
    FROM_GOT,
    GENERAL_DYNAMIC,
    GOT_ADDRESS,
    INITIAL_EXEC,
    LARGE,
    LOCAL_DYNAMIC_DISTANCE,
    LOCAL_DYNAMIC_START,
    LOCAL_EXEC,
    NEAR,
    NOTHING,
    PREFIX,
    R_DISTANCE,
    R_NONE,
    RELATIVE,
    RELOCATIONS,
    SHORT_ADDRESSES,
    SIZES,
    THROUGH_GOT,
    WORD,
)

__all__ = [
    "ADDRESSES", "DESCRIPTOR", "DESCRIPTOR_CALL", "DISTANCES", "FROM_END", "FROM_GOT", "GENERAL_DYNAMIC",
    "GOT_ADDRESS", "INITIAL_EXEC", "LARGE", "LOCAL_DYNAMIC_DISTANCE", "LOCAL_DYNAMIC_START", "LOCAL_EXEC", "NEAR",
    "NOTHING", "PREFIX", "RELATIVE", "RELOCATIONS", "R_DISTANCE", "R_NONE", "SHORT_ADDRESSES", "SIZES", "THROUGH_GOT",
    "WORD",
]
