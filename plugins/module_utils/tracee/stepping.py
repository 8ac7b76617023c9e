# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stepping a thread out of the C library: the last resort for one that never seems to leave it.

Single-stepping ends by itself when the thread is let go, even if we are killed.
A hardware breakpoint at the return address would be quicker, but it would
outlive us and kill the process.
"""

from __future__ import annotations

import ctypes
import time

from . import requests
from .registers import Registers
from .requests import request

# A step that takes longer, in seconds, has gone to sleep in a system call.
_STEP_SECONDS = 0.002


def step_out(custody, ranges, seconds):
    """Single-step a held thread until it executes code outside ``ranges``.

    :param custody: Custody of the thread, which stays held.
    :param ranges: (start, end) addresses of the code to leave.
    :param seconds: limit of the time spent on it.
    :return: whether the thread is outside; False when time is over, or it sleeps in a system call.
    """
    registers = Registers()
    address = ctypes.addressof(registers)
    deadline = time.monotonic() + seconds
    number = 0
    while time.monotonic() < deadline:
        request(requests.GETREGS, custody.pid, custody.tid, 0, address)
        if number == 0 and not any(start <= registers.rip < end for start, end in ranges):
            return True
        stopped_by = custody.step(number, _STEP_SECONDS)
        if stopped_by is None:
            return False
        number = stopped_by
    if number:
        # A signal that was taken from the thread must reach it.
        custody.step(number, _STEP_SECONDS)
    return False
