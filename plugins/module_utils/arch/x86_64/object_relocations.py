# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Relocations of relocatable objects for x86-64; types go by their names without the prefix.

Source: the AMD64 supplement of the System V ABI, sections 3.5 (code models), 4.4 (relocation types) and 6 (thread-local
storage).
"""

from __future__ import annotations

PREFIX = "R_X86_64_"
RELOCATIONS = {
    0: "NONE", 1: "64", 2: "PC32", 3: "GOT32", 4: "PLT32", 9: "GOTPCREL", 10: "32", 11: "32S", 12: "16", 13: "PC16",
    14: "8", 15: "PC8", 17: "DTPOFF64", 18: "TPOFF64", 19: "TLSGD", 20: "TLSLD", 21: "DTPOFF32", 22: "GOTTPOFF",
    23: "TPOFF32", 24: "PC64", 25: "GOTOFF64", 26: "GOTPC32", 27: "GOT64", 28: "GOTPCREL64", 29: "GOTPC64",
    31: "PLTOFF64", 34: "GOTPC32_TLSDESC", 35: "TLSDESC_CALL", 41: "GOTPCRELX", 42: "REX_GOTPCRELX",
}
SIZES = {"64": 8, "PC64": 8, "GOTOFF64": 8, "GOT64": 8, "GOTPC64": 8, "GOTPCREL64": 8, "PLTOFF64": 8, "DTPOFF64": 8,
         "TPOFF64": 8, "16": 2, "PC16": 2, "8": 1, "PC8": 1, "NONE": 0, "TLSDESC_CALL": 0}
# Their value is relative to the place, which within an instruction lies some bytes before its end.
RELATIVE = {"PC32", "PLT32", "GOTPCREL", "GOTPCRELX", "REX_GOTPCRELX", "TLSGD", "TLSLD", "GOTTPOFF", "GOTPC32",
            "GOTPC32_TLSDESC"}

# The types that are written: nothing, and a distance of 4 bytes, counted from its end.
R_NONE = 0
R_DISTANCE = 2  # R_X86_64_PC32
FROM_END = -4

NOTHING = "NONE"
# Of a word in the GOT.
THROUGH_GOT = ("GOTPCREL", "GOTPCRELX", "REX_GOTPCRELX")
# Between two places of one file.
DISTANCES = ("PC32", "PC64")
# In an instruction, of something near.
NEAR = ("PLT32", "PC32")
WORD = "64"
# In debug information.
ADDRESSES = ("32", "64")
# Addresses of code at a fixed place.
SHORT_ADDRESSES = ("32", "32S")
# Of the medium code model: the GOT's address, and distances from there.
GOT_ADDRESS = "GOTPC32"
FROM_GOT = "GOTOFF64"
# Of the large code model.
LARGE = ("GOT64", "GOTPC64", "PLTOFF64")
# Thread-local storage, by its models.
GENERAL_DYNAMIC = "TLSGD"
# The start of a library's thread-local storage, and distances from there.
LOCAL_DYNAMIC_START, LOCAL_DYNAMIC_DISTANCE = "TLSLD", "DTPOFF32"
DESCRIPTOR, DESCRIPTOR_CALL = "GOTPC32_TLSDESC", "TLSDESC_CALL"
INITIAL_EXEC = "GOTTPOFF"
LOCAL_EXEC = "TPOFF32"
