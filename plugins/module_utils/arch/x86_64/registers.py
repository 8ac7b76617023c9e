# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registers of an x86-64 thread.

Layout: struct user_regs_struct, sys/user.h.  System calls: psABI, appendix A.2.1 (AMD64 Linux Kernel Conventions).
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

from .frames import RETURN_ADDRESS, STACK_POINTER

_NAMES = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)

# The code segment of 64-bit user code (asm/segment.h of the kernel, __USER_CS).
_USER_CS = 0x33

# Intel SDM volume 1, chapter 3.4.3 (EFLAGS).
FLAG_TRAP = 1 << 8
FLAG_DIRECTION = 1 << 10
FLAG_NESTED_TASK = 1 << 14
FLAG_ALIGNMENT = 1 << 18

# What the kernel has in orig_rax outside of system calls.
_NO_SYSTEM_CALL = (1 << 64) - 1
SYSTEM_CALL_INSTRUCTION = b"\x0f\x05"  # syscall

# linux/elf.h, and how much of it we have room for, in bytes: AMX needs some 11,000.
EXTENDED_STATE_NOTE = 0x202  # NT_X86_XSTATE
EXTENDED_STATE_LIMIT = 16384
# Bytes: XSAVE and XRSTOR insist on it (Intel SDM volume 1, chapter 13.4).
EXTENDED_STATE_ALIGNMENT = 64


class Registers(ctypes.Structure):
    """struct user_regs_struct."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in _NAMES)

    @property
    def stack_pointer(self) -> int:
        return self.rsp

    @property
    def instruction_pointer(self) -> int:
        return self.rip

    @property
    def thread_pointer(self) -> int:
        return self.fs_base

    @property
    def executes_other_code(self) -> bool:
        return self.cs != _USER_CS

    @property
    def system_call(self) -> int | None:
        return None if self.orig_rax == _NO_SYSTEM_CALL else self.orig_rax

    @property
    def error(self) -> int:
        return (1 << 64) - self.rax

    @property
    def by_number(self) -> dict[int, int]:
        return {
            3: self.rbx, 6: self.rbp, STACK_POINTER: self.rsp, 12: self.r12, 13: self.r13, 14: self.r14, 15: self.r15,
            RETURN_ADDRESS: self.rip,
        }

    def make_call_again(self, number: int) -> None:
        self.rax = number
        self.rip -= len(SYSTEM_CALL_INSTRUCTION)

    def forget_call(self) -> None:
        self.orig_rax = _NO_SYSTEM_CALL

    def divert(self, entry: int, block: int) -> None:
        self.rip = entry
        self.rsp = block
        self.rbx = block
        self.rax = 0
        self.orig_rax = _NO_SYSTEM_CALL
        self.eflags &= ~(FLAG_TRAP | FLAG_DIRECTION | FLAG_NESTED_TASK | FLAG_ALIGNMENT)


@lru_cache(maxsize=None)
def uses_avx() -> bool:
    """Whether the processor has AVX and the kernel uses it (proc_cpuinfo(5))."""
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        return any(line.startswith("flags") and " avx " in line for line in stream)
