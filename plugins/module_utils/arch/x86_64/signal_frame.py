# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame that the kernel puts on the stack for a signal.

Source: asm/ucontext.h and asm/sigcontext.h.  struct ucontext has flags, a link, and the alternate stack (its lowest
address, flags, size in bytes); struct sigcontext has r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip and flags,
then the segments cs, gs, fs and ss.  Those of 64-bit user code are what a frame is recognized by.
"""

from __future__ import annotations

import struct
from typing import Iterator

from .frames import RETURN_ADDRESS, STACK_POINTER

_SEGMENTS = struct.pack("<4H", 0x33, 0, 0, 0x2B)

# sp, ip and flags stand right before the segments.
_POINTERS = struct.Struct("<3Q")
SIGNAL_POINTERS_SIZE = _POINTERS.size

_ALTERNATE_STACK = struct.Struct("<QQQ")
_FROM_STACK_TO_SEGMENTS = _ALTERNATE_STACK.size + 18 * 8
SIGNAL_STACK_SIZE = _FROM_STACK_TO_SEGMENTS + len(_SEGMENTS)

# A handler returns with the address of struct ucontext as its stack pointer.
SIGNAL_CONTEXT = 16 + _ALTERNATE_STACK.size
_REGISTERS = struct.Struct("<18Q8s")
SIGNAL_CONTEXT_SIZE = _REGISTERS.size
# Where a handler returns to, sigreturn(2): mov $SYS_rt_sigreturn, %rax; syscall.
SIGNAL_RETURN = bytes.fromhex("48c7c00f0000000f05")
_NUMBERS = (8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, STACK_POINTER, RETURN_ADDRESS)


def signal_pointers(words: bytes) -> Iterator[tuple[int, int]]:
    """(stack pointer, instruction pointer) of the code that a signal interrupted, for each frame in ``words``.

    :param words: bytes of a stack, from a multiple of 8 on; of a frame that is cut off before, the last
        SIGNAL_POINTERS_SIZE bytes are enough.
    """
    for position in _segments(words, SIGNAL_POINTERS_SIZE):
        stack_pointer, instruction_pointer, _flags = _POINTERS.unpack_from(words, position - SIGNAL_POINTERS_SIZE)
        yield stack_pointer, instruction_pointer


def alternate_stacks(words: bytes) -> Iterator[tuple[int, int]]:
    """(lowest address, size in bytes) of the alternate signal stack that each frame in ``words`` names.

    :param words: as for signal_pointers(); of a frame, the last SIGNAL_STACK_SIZE bytes up to its segments are needed.
    """
    for position in _segments(words, _FROM_STACK_TO_SEGMENTS):
        lowest, _flags, size = _ALTERNATE_STACK.unpack_from(words, position - _FROM_STACK_TO_SEGMENTS)
        yield lowest, size


def interrupted_registers(context: bytes) -> dict[int, int] | None:
    """{DWARF number: value} of the code that a signal interrupted, or None: this is no frame of the kernel's.

    :param context: the SIGNAL_CONTEXT_SIZE bytes that begin SIGNAL_CONTEXT bytes above the handler's stack pointer.
    """
    *values, segments = _REGISTERS.unpack(context)
    return dict(zip(_NUMBERS, values)) if segments == _SEGMENTS else None


def _segments(words: bytes, least: int) -> Iterator[int]:
    """Where the segments stand in ``words`` with at least so many bytes before them."""
    position = words.find(_SEGMENTS, least)
    while position >= 0:
        if position % 8 == 0:
            yield position
        position = words.find(_SEGMENTS, position + 1)
