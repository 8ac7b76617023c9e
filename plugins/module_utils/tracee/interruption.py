# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system call in which a thread was stopped, and how it is made again.

arch_do_signal_or_restart in the kernel does the same when a thread leaves a stop without a signal.
"""

from __future__ import annotations

from ..arch.system_calls import NUMBERS

# linux/errno.h: never seen by a program, but by its tracer.
ERESTARTSYS = 512
ERESTARTNOINTR = 513
ERESTARTNOHAND = 514
ERESTART_RESTARTBLOCK = 516
EINTR = 4


def _numbers(*names):
    return frozenset(NUMBERS[name] for name in names)


# System calls that fail with EINTR merely because their thread was stopped (signal(7), "Interruption of system
# calls by stop signals"), and that have done nothing then.  Made again, their time limit starts anew.
EINTR_WHEN_STOPPED = _numbers(
    "semop", "semtimedop", "rt_sigtimedwait", "io_getevents", "io_pgetevents", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "io_uring_enter",
)
# Likewise on a socket that has a time limit (SO_RCVTIMEO, SO_SNDTIMEO).
EINTR_WITH_SOCKET_LIMIT = _numbers(
    "read", "write", "readv", "writev", "connect", "accept", "sendto", "recvfrom", "sendmsg", "recvmsg", "accept4",
    "recvmmsg", "sendmmsg",
)
_MADE_AGAIN_AFTER_EINTR = EINTR_WHEN_STOPPED | EINTR_WITH_SOCKET_LIMIT


def interruption(registers):
    """The kernel's error number if the thread was stopped in a system call that has to be made again, else 0.

    :param registers: of the thread (arch.registers.Registers).
    :return: 4 or 512 to 516.
    """
    if registers.system_call is None:
        return 0
    error = registers.error
    if error in (ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK):
        return error
    if error == EINTR and registers.system_call in _MADE_AGAIN_AFTER_EINTR:
        return error
    return 0


def make_again(registers, error):
    """Set ``registers`` so that the thread, resumed with them, makes its interrupted system call again.

    :param error: what interruption() gave, not 0.
    """
    registers.make_call_again(
        NUMBERS["restart_syscall"] if error == ERESTART_RESTARTBLOCK else registers.system_call)
