# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registers of a thread, as its tracer gets and sets them.

``Registers`` is a ctypes structure that PTRACE_GETREGS fills.  Of it we ask:

- ``stack_pointer``, ``instruction_pointer`` and ``thread_pointer``, absolute addresses;
- ``executes_other_code``: whether it is code of another kind than the core knows, as 32-bit code is;
- ``system_call``: the number of the call that the thread was stopped in, or None: in no call;
- ``error``: of a thread that was stopped in a call, the number of the error that the call ends with;
- ``by_number``: those that unwinding needs, as {DWARF number: value} (arch.frames);
- ``make_call_again(number)``: resumed, the thread makes its call again, or the call of that number instead;
- ``forget_call()``: the kernel takes the thread for one that was in no call, and leaves its registers alone;
- ``divert(entry, block)``: the thread runs the runtime's request entry at ``entry`` on the block at ``block``
  (native/include/ulp/abi.h, "diversion"), as if it were in no call.

``SYSTEM_CALL_INSTRUCTION`` is the instruction, as bytes, that makes a call.  ``EXTENDED_STATE_NOTE`` is the number by
which PTRACE_GETREGSET gives what Registers lacks, at most ``EXTENDED_STATE_LIMIT`` bytes; in a block it is aligned to
``EXTENDED_STATE_ALIGNMENT`` bytes.  ``uses_avx()`` is what the bootstrap code is told of the processor (``has_avx``).
"""

from __future__ import annotations

from .x86_64.registers import (
    EXTENDED_STATE_ALIGNMENT,
    EXTENDED_STATE_LIMIT,
    EXTENDED_STATE_NOTE,
    SYSTEM_CALL_INSTRUCTION,
    Registers,
    uses_avx,
)

__all__ = [
    "EXTENDED_STATE_ALIGNMENT", "EXTENDED_STATE_LIMIT", "EXTENDED_STATE_NOTE", "SYSTEM_CALL_INSTRUCTION", "Registers",
    "uses_avx",
]
