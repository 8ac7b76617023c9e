# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine code: what of an architecture is asked when code is read, by ``elf`` and ``process``.

An architecture supplies each name of ``__all__``; the docstrings in x86_64/ say what they do.
"""

from __future__ import annotations

from .x86_64.computed_jumps import computed_jumps, may_leave, thunks
from .x86_64.instructions import ENDBR64, REL32, instruction_starts, may_end_with_call

__all__ = [
    "ENDBR64", "REL32", "computed_jumps", "instruction_starts", "may_end_with_call", "may_leave", "thunks",
]
