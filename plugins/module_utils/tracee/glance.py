# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold a thread for a moment to see where it is; it goes on as if nothing had been."""

from __future__ import annotations

import ctypes

from ..arch.registers import Registers
from ..process.maps import mapping_at
from ..process.memory import IoVector, process_vm_readv
from ..process.procfs import NO_FILTERS
from ..process.safe_point import STACK_LIMIT
from . import requests
from .custody import Custody, held
from .requests import request
from .restart import undo_interruption


def glance(pid, tid, mappings):
    """Where thread ``tid`` of ``pid`` is.

    :param mappings: of the process, ascending (maps.Mapping).
    :return: (stack pointer, instruction pointer, bytes from the next multiple of 8 to the end of its stack, or None:
        that is too long).
    :raises ThreadRefused: it could not be held.
    """
    custody = Custody(pid, tid)
    registers = Registers()
    buffer = ctypes.create_string_buffer(STACK_LIMIT)

    def look():
        with custody:
            request(requests.GETREGS, pid, tid, 0, ctypes.addressof(registers))
            pointer = registers.stack_pointer
            found = registers.instruction_pointer
            undo_interruption(pid, tid, registers, True, NO_FILTERS)
            mapping = mapping_at(mappings, pointer)
            start = pointer + -pointer % 8
            size = mapping.end - start if mapping is not None else 0
            if not 0 < size <= STACK_LIMIT:
                return pointer, None, 0
            local = IoVector(ctypes.addressof(buffer), size)
            remote = IoVector(start, size)
            count = process_vm_readv(tid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        return pointer, found, size if count == size else 0

    pointer, instruction, size = held(look)
    return pointer, instruction, buffer.raw[:size] if size else None


def registers_in_call(pid, tid, restarts, filters):
    """The registers of a thread that is blocked in a system call, which it makes again.

    Of a thread that nobody stops only two can be seen (proc_pid_syscall(5)).  Those that a function gives back as they
    were stay what they are until the call returns.

    :param restarts: whether the thread may make the system call restart_syscall.
    :param filters: the filters for which that was found out (procfs.seccomp_state).
    :return: ({DWARF number: value}, or None: it is in no call; nanoseconds for which it was held).
    :raises ThreadRefused: it could not be held.
    """
    custody = Custody(pid, tid)
    registers = Registers()

    def look():
        with custody:
            request(requests.GETREGS, pid, tid, 0, ctypes.addressof(registers))
            if registers.system_call is None or registers.executes_other_code:
                return None
            found = registers.by_number
            undo_interruption(pid, tid, registers, restarts, filters)
            return found

    return held(look), custody.held_ns
