# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registers that a call may change, where livepatches are made: who passes values in them, and who changes them.

``ALL`` are those registers; ``ARGUMENTS`` and ``VECTOR_ARGUMENTS`` those of them that pass arguments, in their order;
``RESULTS`` those that give results.  ``NUMBERS`` gives their names by DWARF number.  ``Effect`` is what one instruction
does to them.  ``SYSTEM_CALLS`` are the names of instructions that call the kernel, and ``SYSTEM_CALL_CHANGES`` what
that changes; ``DESCRIPTOR_REGISTER`` is the one that the call of a TLS descriptor changes.
"""

from __future__ import annotations

from .x86_64.register_use import (
    ALL,
    ARGUMENTS,
    DESCRIPTOR_REGISTER,
    NUMBERS,
    RESULTS,
    SYSTEM_CALL_CHANGES,
    SYSTEM_CALLS,
    VECTOR_ARGUMENTS,
    Effect,
)

__all__ = [
    "ALL", "ARGUMENTS", "DESCRIPTOR_REGISTER", "NUMBERS", "RESULTS", "SYSTEM_CALLS", "SYSTEM_CALL_CHANGES",
    "VECTOR_ARGUMENTS", "Effect",
]
