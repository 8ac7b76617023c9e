# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How ELF files of an architecture are told from others, and its dynamic relocations.

``NAME`` is what messages call the architecture; ``MACHINE`` is its number in the ELF header; ``LOADER`` is the soname
of the dynamic loader; ``SECTION_TYPES`` names the section types of its own.  The relocations, by what the loader does:
``R_ADDRESS`` stores a symbol's address plus addend, ``R_GLOB_DAT`` and ``R_JUMP_SLOT`` the address alone,
``R_RELATIVE`` an address of the file itself, ``R_IRELATIVE`` what an IFUNC resolver chooses, ``R_DTPMOD`` the TLS
module ID of the object that defines a symbol, ``R_TPOFF`` how far from the thread pointer a thread-local variable
lies, ``R_TLSDESC`` two words, with a function that finds that out.

Files are 64-bit and little endian, with addends (RELA): others need more than a port.
"""

from __future__ import annotations

from .x86_64.elf_format import (
    LOADER,
    MACHINE,
    NAME,
    R_ADDRESS,
    R_DTPMOD,
    R_GLOB_DAT,
    R_IRELATIVE,
    R_JUMP_SLOT,
    R_RELATIVE,
    R_TLSDESC,
    R_TPOFF,
    SECTION_TYPES,
)

__all__ = [
    "LOADER", "MACHINE", "NAME", "R_ADDRESS", "R_DTPMOD", "R_GLOB_DAT", "R_IRELATIVE", "R_JUMP_SLOT", "R_RELATIVE",
    "R_TLSDESC", "R_TPOFF", "SECTION_TYPES",
]
