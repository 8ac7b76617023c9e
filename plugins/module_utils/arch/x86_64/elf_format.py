# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELF on x86-64.

Source: the AMD64 supplement of the System V ABI, chapter 4 (machine, section types, relocation types).
"""

from __future__ import annotations

NAME = "x86-64"
MACHINE = 62  # EM_X86_64
LOADER = "ld-linux-x86-64.so.2"  # psABI, 3.4.1

SECTION_TYPES = {0x70000001: "SHT_X86_64_UNWIND"}

R_ADDRESS = 1  # R_X86_64_64
R_GLOB_DAT = 6  # R_X86_64_GLOB_DAT
R_JUMP_SLOT = 7  # R_X86_64_JUMP_SLOT
R_RELATIVE = 8  # R_X86_64_RELATIVE
R_IRELATIVE = 37  # R_X86_64_IRELATIVE
R_DTPMOD = 16  # R_X86_64_DTPMOD64
R_TPOFF = 18  # R_X86_64_TPOFF64
R_TLSDESC = 36  # R_X86_64_TLSDESC
