# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seccomp filters of a thread, fetched from the kernel (ptrace(2), PTRACE_SECCOMP_GET_FILTER)."""

from __future__ import annotations

import ctypes
import errno

from ..arch.registers import Registers
from ..process.procfs import read_bytes, text_lines
from ..process.seccomp import denied
from . import requests
from .custody import Custody, held
from .errors import StepFailed
from .requests import request
from .restart import undo_interruption

_INSTRUCTION = 8  # bytes of struct sock_filter
_INSTRUCTION_LIMIT = 4096  # BPF_MAXINSNS
_CAP_SYS_ADMIN = 21
_ALL_USERS = (1 << 32) - 1  # what the initial user namespace maps


def may_fetch():
    """Whether the kernel shows filters to us at all: to root of the machine that is under no filter itself."""
    fields = dict(line.split(b":", 1) for line in text_lines(read_bytes("self", "status")))
    try:
        with open("/proc/self/uid_map", encoding="ascii") as stream:
            everybody = [int(word) for word in stream.read().split()] == [0, 0, _ALL_USERS]
    except FileNotFoundError:
        # A kernel without user namespaces.
        everybody = True
    return everybody and int(fields[b"CapEff"], 16) >> _CAP_SYS_ADMIN & 1 == 1 and int(fields.get(b"Seccomp", 0)) == 0


def fetch_filters(pid, tid):
    """The classic BPF programs that judge every system call of the thread, newest first.

    The thread is held for some microseconds.  A sleep that its filters do not let the kernel go on with begins anew.

    :return: a list of bytes, arrays of struct sock_filter.
    :raises ThreadRefused: the thread cannot be held, or the kernel does not show its filters (that needs root).
    """
    custody = Custody(pid, tid)
    data = ctypes.create_string_buffer(_INSTRUCTION * _INSTRUCTION_LIMIT)
    registers = Registers()

    def fetch():
        restarts = False
        with custody:
            request(requests.GETREGS, pid, tid, 0, ctypes.addressof(registers))
            try:
                programs = _programs(pid, tid, data)
                restarts = may_restart(programs)
            finally:
                undo_interruption(pid, tid, registers, restarts)
        return programs

    return held(fetch)


def may_restart(programs):
    """Whether the kernel may go on with a sleep of a thread with these filters; as fetch_filters() gives them."""
    try:
        return denied(programs, (("restart_syscall", ()),)) is None
    except ValueError:
        return False


def _programs(pid, tid, data):
    programs: list[bytes] = []
    while True:
        try:
            count = request(requests.SECCOMP_GET_FILTER, pid, tid, len(programs), ctypes.addressof(data))
        except StepFailed as error:
            # The kernel's way to say that there is no filter of this number.
            if error.error == errno.ENOENT:
                return programs
            raise
        programs.append(data.raw[:count * _INSTRUCTION])
