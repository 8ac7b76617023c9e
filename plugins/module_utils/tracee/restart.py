# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart a held thread's interrupted call where a seccomp filter bars the kernel's own way to go on with it.

The kernel goes on with a sleep, or a wait that has a time limit, by
restart_syscall(2), for which it asks the filter like for any other call.
"""

from __future__ import annotations

import ctypes

from . import requests
from .interruption import ERESTARTSYS, make_again
from .requests import request


def make_original_call_again(pid, tid, registers):
    """Have the thread make its call anew, with its whole time limit.

    :param registers: of the thread (arch.registers.Registers), as it was stopped in the call.
    :raises ThreadRefused: the kernel does not let its registers be set.
    """
    make_again(registers, ERESTARTSYS)
    registers.forget_call()
    request(requests.SETREGS, pid, tid, 0, ctypes.addressof(registers))
