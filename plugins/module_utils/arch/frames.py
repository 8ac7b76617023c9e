# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames on a stack, as they are read from outside.

``FRAME_POINTER``, ``STACK_POINTER`` and ``RETURN_ADDRESS`` are registers as frame descriptions number them;
``CALLEE_SAVED`` is the set of those that a function gives back as they were.  A function that is called finds its
return address at the stack pointer, and saves the frame pointer right below, if it has one.  ``RED_ZONE`` is how many
bytes below its stack pointer code may use; ``RESOLVER_SIZE`` is how many the loader's _dl_runtime_resolve may take.

``control_blocks`` finds the blocks that the C library puts at the upper end of the stacks it makes.  Each lies at a
multiple of ``CONTROL_BLOCK_ALIGNMENT`` and has the thread's TID ``CONTROL_BLOCK_TID`` bytes behind its start.
``signal_pointers``, ``alternate_stacks`` and ``interrupted_registers`` read the frames that the kernel
makes for signals.  A process runs with a shadow stack if ``SHADOW_STACK`` is among the words of the field
``SHADOW_STACK_FIELD`` of its status file.
"""

from __future__ import annotations

from .x86_64.frames import (
    CALLEE_SAVED,
    CONTROL_BLOCK_ALIGNMENT,
    CONTROL_BLOCK_TID,
    FRAME_POINTER,
    RED_ZONE,
    RESOLVER_SIZE,
    RETURN_ADDRESS,
    SHADOW_STACK,
    SHADOW_STACK_FIELD,
    STACK_POINTER,
    control_blocks,
)
from .x86_64.signal_frame import (
    SIGNAL_CONTEXT,
    SIGNAL_CONTEXT_SIZE,
    SIGNAL_POINTERS_SIZE,
    SIGNAL_RETURN,
    SIGNAL_STACK_SIZE,
    alternate_stacks,
    interrupted_registers,
    signal_pointers,
)

__all__ = [
    "CALLEE_SAVED",
    "CONTROL_BLOCK_ALIGNMENT",
    "CONTROL_BLOCK_TID",
    "FRAME_POINTER",
    "RED_ZONE",
    "RESOLVER_SIZE",
    "RETURN_ADDRESS",
    "SHADOW_STACK",
    "SHADOW_STACK_FIELD",
    "SIGNAL_CONTEXT",
    "SIGNAL_CONTEXT_SIZE",
    "SIGNAL_POINTERS_SIZE",
    "SIGNAL_RETURN",
    "SIGNAL_STACK_SIZE",
    "STACK_POINTER",
    "alternate_stacks",
    "control_blocks",
    "interrupted_registers",
    "signal_pointers",
]
