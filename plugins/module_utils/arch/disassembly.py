# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine code, decoded by Capstone: what is asked of it where livepatches are made, by ``stock`` and ``build``.

An architecture supplies each name of ``__all__``; the docstrings in x86_64/ say what they find.  ``operation`` gives
what an instruction does by these names in all of them: ``call``, ``jmp``, and ``ret`` with whatever follows.  ``ENDS``
are the names of those behind which nothing is executed.
"""

from __future__ import annotations

from .x86_64.disassembler import (
    ENDS,
    direct_target,
    instruction_ends,
    instructions,
    is_jump,
    is_padding,
    loaded_address,
    may_lead_to,
    operation,
    outline,
    table_address,
)
from .x86_64.moving import Moved, Unmovable, is_idle, moved, pushed_register

__all__ = [
    "ENDS", "Moved", "Unmovable", "direct_target", "instruction_ends", "instructions", "is_idle", "is_jump",
    "is_padding", "loaded_address", "may_lead_to", "moved", "operation", "outline", "pushed_register",
    "table_address",
]
