# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart a held thread's interrupted call where the kernel's own way to go on with it would show that it was held.

The kernel goes on with a sleep, or a wait that has a time limit, by
restart_syscall(2), for which it asks a seccomp filter like for any other call.
Other calls fail with EINTR merely because their thread was stopped (signal(7)).
"""

from __future__ import annotations

import ctypes

from ..process.procfs import read_bytes, read_status, seccomp_state
from . import requests
from .interruption import EINTR, ERESTART_RESTARTBLOCK, ERESTARTSYS, interruption, make_again
from .requests import request


def make_original_call_again(pid, tid, registers):
    """Have the thread make its call anew, with its whole time limit.

    :param registers: of the thread (arch.registers.Registers), as it was stopped in the call.
    :raises ThreadRefused: the kernel does not let its registers be set.
    """
    make_again(registers, ERESTARTSYS)
    registers.forget_call()
    request(requests.SETREGS, pid, tid, 0, ctypes.addressof(registers))


def undo_interruption(pid, tid, registers, restarts, filters=None):
    """Have a held thread that is let go as it was make its call again, if that would fail merely because it was held.

    :param registers: of the thread (arch.registers.Registers), as it was stopped.
    :param restarts: whether the thread may make the system call restart_syscall.
    :param filters: the filters for which that holds (procfs.seccomp_state), as another thread may have given it more.
        None: it holds now.
    :raises ThreadRefused: as make_original_call_again().
    """
    error = interruption(registers)
    if error == EINTR:
        # Where a signal has come as well, the call ends with that.
        if not read_status(pid, tid).pending:
            make_original_call_again(pid, tid, registers)
    elif error == ERESTART_RESTARTBLOCK and not (restarts and _has_filters(pid, tid, filters)):
        make_original_call_again(pid, tid, registers)


def _has_filters(pid, tid, filters):
    return filters is None or seccomp_state(read_bytes(pid, f"task/{tid}/status")) == filters
