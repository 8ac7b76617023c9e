# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registers of an x86-64 thread, and how an interrupted system call is made again.

Layout: struct user_regs_struct, sys/user.h.  Restart: arch_do_signal_or_restart
in the kernel does the same when a thread leaves a stop without a signal.
"""

from __future__ import annotations

import ctypes

NAMES = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)

# The code segment of 64-bit user code.
USER_CS = 0x33

FLAG_TRAP = 1 << 8
FLAG_DIRECTION = 1 << 10
FLAG_NESTED_TASK = 1 << 14
FLAG_ALIGNMENT = 1 << 18

NO_SYSTEM_CALL = (1 << 64) - 1
SYSTEM_CALL_SIZE = 2  # bytes of the instruction syscall

# linux/errno.h: never seen by a program, but by its tracer.
ERESTARTSYS = 512
ERESTARTNOINTR = 513
ERESTARTNOHAND = 514
ERESTART_RESTARTBLOCK = 516
EINTR = 4

RESTART_SYSCALL = 219

# System calls that fail with EINTR merely because their thread was stopped (signal(7), "Interruption of system
# calls by stop signals"), and that have done nothing then: semop, semtimedop, rt_sigtimedwait, io_getevents,
# io_pgetevents, epoll_wait, epoll_pwait, epoll_pwait2, io_uring_enter.  Made again, their time limit starts anew.
EINTR_WHEN_STOPPED = frozenset((65, 220, 128, 208, 333, 232, 281, 441, 426))
# Likewise on a socket that has a time limit (SO_RCVTIMEO, SO_SNDTIMEO): read, write, readv, writev, connect, accept,
# sendto, recvfrom, sendmsg, recvmsg, accept4, recvmmsg, sendmmsg.
EINTR_WITH_SOCKET_LIMIT = frozenset((0, 1, 19, 20, 42, 43, 44, 45, 46, 47, 288, 299, 307))
_MADE_AGAIN_AFTER_EINTR = EINTR_WHEN_STOPPED | EINTR_WITH_SOCKET_LIMIT


class Registers(ctypes.Structure):
    """struct user_regs_struct."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in NAMES)


def interruption(registers):
    """The kernel's error number if the thread was stopped in a system call that has to be made again, else 0.

    :return: 4 or 512 to 516.
    """
    if registers.orig_rax == NO_SYSTEM_CALL:
        return 0
    error = (1 << 64) - registers.rax
    if error in (ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK):
        return error
    if error == EINTR and registers.orig_rax in _MADE_AGAIN_AFTER_EINTR:
        return error
    return 0


def make_again(registers, error):
    """Set ``registers`` so that the thread, resumed with them, makes its interrupted system call again.

    :param error: what interruption() gave, not 0.
    """
    registers.rax = RESTART_SYSCALL if error == ERESTART_RESTARTBLOCK else registers.orig_rax
    registers.rip -= SYSTEM_CALL_SIZE


def divert(registers, entry, block):
    """Set ``registers`` so that the thread runs the runtime's request entry on the block at address ``block``."""
    registers.rip = entry
    registers.rsp = block
    registers.rbx = block
    registers.rax = 0
    registers.orig_rax = NO_SYSTEM_CALL
    registers.eflags &= ~(FLAG_TRAP | FLAG_DIRECTION | FLAG_NESTED_TASK | FLAG_ALIGNMENT)
