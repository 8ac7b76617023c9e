# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alignment of the stack, where livepatches are made: who may rely on it, and who keeps it.

Before a call the stack pointer is a multiple of ``STACK_ALIGNMENT`` bytes.  ``lowered`` and ``aligns`` tell what one
instruction does to the stack pointer, ``needs_alignment`` whether it fails on memory that is not aligned.
"""

from __future__ import annotations

from .x86_64.stack_pointer import STACK_ALIGNMENT, aligns, lowered, needs_alignment

__all__ = ["STACK_ALIGNMENT", "aligns", "lowered", "needs_alignment"]
