# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What padding consists of, before and after post has rewritten it (native/include/ulp/abi.h, "code").

``ENDBR64`` is what stands first at a function that indirect branches may lead to, if branches are tracked.  ``NOP`` is
the nop of which the compiler makes padding, ``ENTRY_NOPS`` what it leaves at the entry, and ``MERGED_ENTRY_NOP`` the
one instruction that post makes of these.  ``TRAMPOLINE`` leads from the start of the padding to the function.
``is_nops`` knows every nop that assemblers and linkers fill with.

In padding that is hooked, instructions begin at ``SLOT_JUMP_STARTS``, behind the trampoline; the byte at
``TRAMPOLINE_HOP`` or ``ENTRY_HOP`` switches a hop on.  All are offsets from the padding's start.  Of the starts and the
entry there are two, without and with an ``ENDBR64``.  ``BREAKPOINT`` is the byte that debuggers and probes put over an
instruction.
"""

from __future__ import annotations

from .x86_64.padding import (
    BREAKPOINT,
    ENDBR64,
    ENTRY_HOP,
    ENTRY_NOPS,
    MERGED_ENTRY_NOP,
    NOP,
    SLOT_JUMP_STARTS,
    TRAMPOLINE,
    TRAMPOLINE_HOP,
    is_nops,
)

__all__ = [
    "BREAKPOINT", "ENDBR64", "ENTRY_HOP", "ENTRY_NOPS", "MERGED_ENTRY_NOP", "NOP", "SLOT_JUMP_STARTS", "TRAMPOLINE",
    "TRAMPOLINE_HOP", "is_nops",
]
