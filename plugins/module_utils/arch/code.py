# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine code: what is asked of it when it is read, by ``elf`` and ``process``.

An architecture supplies each name of ``__all__``; the docstrings of the functions in x86_64/ say what they find.
They take bytes and give offsets into these.  Where they may err, they find too much, never too little.

``PLAIN``, ``RIP_RELATIVE`` and ``JUMP`` are what becomes of an instruction that makes room for a hook (elf.site).
``OF_CALLER`` are the registers, besides the stack pointer, that a function gives back as it found them.
"""

from __future__ import annotations

from .x86_64.addresses import distances, near_addresses
from .x86_64.call_target import call_target
from .x86_64.computed_jumps import computed_jumps, indirect_jumps, may_leave, thunks
from .x86_64.instructions import (
    JUMP,
    LONGEST_CALL,
    LONGEST_INSTRUCTION,
    OF_CALLER,
    PLAIN,
    RIP_RELATIVE,
    instruction_starts,
    looks_like_call,
    may_end_with_call,
)
from .x86_64.jumps import (
    JUMP_OPCODE,
    JUMP_SIZE,
    SHORT_JUMP_OPCODE,
    SHORT_JUMP_SIZE,
    calls,
    calls_and_jumps,
    jumps_through_words,
    long_jumps,
    short_jumps,
)
from .x86_64.linkage import (
    CALLS,
    COMPARES,
    JUMPS,
    LOADS,
    TRM_FUNCTION_SIZES,
    is_trm_function,
    stub_entries,
    word_references,
    word_use,
)

__all__ = [
    "CALLS", "COMPARES", "JUMP", "JUMPS", "JUMP_OPCODE", "JUMP_SIZE", "LOADS", "LONGEST_CALL",
    "LONGEST_INSTRUCTION", "OF_CALLER", "PLAIN", "RIP_RELATIVE", "SHORT_JUMP_OPCODE", "SHORT_JUMP_SIZE",
    "TRM_FUNCTION_SIZES", "call_target", "calls", "calls_and_jumps", "computed_jumps", "distances",
    "indirect_jumps", "instruction_starts", "is_trm_function", "jumps_through_words", "long_jumps",
    "looks_like_call", "may_end_with_call", "may_leave", "near_addresses", "short_jumps", "stub_entries", "thunks",
    "word_references", "word_use",
]
