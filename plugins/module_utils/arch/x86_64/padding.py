# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes around the entry of a function that was compiled with padding, before it is hooked.

native/include/ulp/abi.h draws them.  Source: Intel SDM volume 2 (ENDBR64, JMP, NOP).
"""

from __future__ import annotations

import re

from ...abi import PAD_BEFORE

# What -fcf-protection puts first where a function may be called through a pointer.
ENDBR64 = b"\xf3\x0f\x1e\xfa"
TRAMPOLINE = b"\xeb\x0c"  # jmp over the rest of the padding, to the function
NOP = b"\x90"
ENTRY_NOPS = NOP * 2
MERGED_ENTRY_NOP = b"\x66\x90"

# Hooked (native/arch/x86_64/code.c): where the jump through the slot begins, and with an endbr64 the one that leads to
# it; and which byte switches each hop on.
SLOT_JUMP_STARTS = (frozenset((8,)), frozenset((2, 9)))
ENTRY_HOP = (PAD_BEFORE, PAD_BEFORE + len(ENDBR64))
TRAMPOLINE_HOP = 1

BREAKPOINT = 0xCC  # int3

# 90 and 0f 1f /0 with any addressing form, both with operand-size and segment prefixes.
_ANY_NOP = (
    rb"[\x66\x2e]*(?:\x90|\x0f\x1f(?:"
    rb"[\x00-\x03\x06\x07]|\x04[\x00-\xff]|\x05[\x00-\xff]{4}"
    rb"|[\x40-\x43\x45-\x47][\x00-\xff]|\x44[\x00-\xff]{2}"
    rb"|[\x80-\x83\x85-\x87][\x00-\xff]{4}|\x84[\x00-\xff]{5}))"
)


def is_nops(code: bytes) -> bool:
    """Whether ``code`` (bytes) is nothing but nop instructions, multi-byte ones included."""
    return re.fullmatch(rb"(?:" + _ANY_NOP + rb")*", code, re.DOTALL) is not None
