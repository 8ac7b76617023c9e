# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a thread's system calls come to the program instead of the kernel: syscall user dispatch.

Programs that run those of other systems, as Wine does, have the kernel send SIGSYS for each call, but for those of one
range of code and those made while a byte of theirs allows it.  A thread that is borrowed blocks signals, and its calls
come from elsewhere: the kernel would end the process.

Sources: prctl(2), PR_SET_SYSCALL_USER_DISPATCH; linux/ptrace.h, struct ptrace_sud_config.
"""

from __future__ import annotations

import ctypes

from . import requests
from .errors import StepFailed
from .requests import request

_OFF = 0
# SYSCALL_DISPATCH_FILTER_ALLOW, the value of the byte.
ALLOW = 0


class DispatchConfiguration(ctypes.Structure):
    """struct ptrace_sud_config."""

    _fields_ = (
        ("mode", ctypes.c_uint64),
        ("selector", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
    )


def selector(pid, tid, configuration):
    """The address of the byte that allows the calls of a thread that is held; 0: nothing does; None: none needs to.

    The kernel tells from Linux 6.4 on; before, also None.

    :param configuration: DispatchConfiguration to read into, made before the thread is held.
    """
    try:
        request(requests.GET_SYSCALL_USER_DISPATCH_CONFIG, pid, tid, ctypes.sizeof(configuration),
                ctypes.addressof(configuration))
    except StepFailed:
        return None
    return None if configuration.mode == _OFF else configuration.selector
