# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a thread has registered by rseq(2), as the kernel tells it (ptrace(2), PTRACE_GET_RSEQ_CONFIGURATION)."""

from __future__ import annotations

import ctypes

from ..arch.registers import Registers
from . import requests
from .custody import Custody, held
from .errors import StepFailed
from .requests import request
from .restart import undo_interruption


class RseqConfiguration(ctypes.Structure):
    """struct ptrace_rseq_configuration, linux/ptrace.h."""

    _fields_ = (
        ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("signature", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    )


def registered_area(pid, tid, configuration):
    """The address of what a thread that is held has registered, 0: nothing; None: the kernel does not tell.

    It tells from Linux 5.13 on.

    :param configuration: RseqConfiguration to read into, made before the thread is held.
    """
    try:
        request(requests.GET_RSEQ_CONFIGURATION, pid, tid, ctypes.sizeof(configuration),
                ctypes.addressof(configuration))
    except StepFailed:
        return None
    return configuration.address


def has_rseq(pid, tid, restarts, filters):
    """Whether thread ``tid`` has registered an area for restartable sequences, or may have.

    The thread is held for some microseconds.

    :param restarts: whether the thread may make the system call restart_syscall.
    :param filters: the filters for which that was found out (procfs.seccomp_state); None: it holds now.
    :raises ThreadRefused: the thread cannot be held.
    """
    custody = Custody(pid, tid)
    configuration = RseqConfiguration()
    registers = Registers()

    def fetch():
        with custody:
            request(requests.GETREGS, pid, tid, 0, ctypes.addressof(registers))
            found = registered_area(pid, tid, configuration) != 0
            undo_interruption(pid, tid, registers, restarts, filters)
        return found

    return held(fetch)
