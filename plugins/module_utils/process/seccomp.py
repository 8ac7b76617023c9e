# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a seccomp filter says about a system call: an interpreter of classic BPF (seccomp(2))."""

from __future__ import annotations

import struct

from ..arch.system_calls import AUDIT_ARCHITECTURE, NUMBERS

_INSTRUCTION = struct.Struct("<HBBI")
_DATA = struct.Struct("<iIQ6Q")

ALLOW = 0x7FFF0000
LOG = 0x7FFC0000
ERRNO = 0x00050000
_ACTION = 0xFFFF0000
_WORD = 0xFFFFFFFF


def encode(number, arguments=()):
    """struct seccomp_data of system call ``number`` with up to six integer ``arguments``."""
    values = [argument & 0xFFFFFFFFFFFFFFFF for argument in arguments]
    return _DATA.pack(number, AUDIT_ARCHITECTURE, 0, *(values + [0] * (6 - len(values))))


def evaluate(program, data):
    """Run one filter.

    :param program: array of struct sock_filter, as the kernel gives it.
    :param data: struct seccomp_data (encode).
    :return: the filter's 32-bit verdict.
    :raises ValueError: the program is not one that the kernel accepts.
    """
    instructions = list(_INSTRUCTION.iter_unpack(program))
    accumulator = index = position = 0
    memory = [0] * 16
    while position < len(instructions):
        code, true, false, k = instructions[position]
        position += 1
        kind = code & 7
        if kind in (0, 1):
            value = _load(code, k, data, memory)
            if kind == 0:
                accumulator = value
            else:
                index = value
        elif kind == 2:
            memory[k] = accumulator
        elif kind == 3:
            memory[k] = index
        elif kind == 4:
            accumulator = _arithmetic(code & 0xF0, accumulator, index if code & 8 else k)
        elif kind == 5:
            operation = code & 0xF0
            if operation == 0:
                position += k
            else:
                position += true if _holds(operation, accumulator, index if code & 8 else k) else false
        elif kind == 6:
            return accumulator if code & 0x18 == 0x10 else k
        elif code & 0xF8 == 0x80:
            accumulator = index
        else:
            index = accumulator
    raise ValueError("the filter has no end")


def _load(code, k, data, memory):
    mode = code & 0xE0
    if mode == 0:
        return k
    if mode == 0x20:
        return struct.unpack_from("<I", data, k)[0]
    if mode == 0x60:
        return memory[k]
    if mode == 0x80:
        return len(data)
    raise ValueError(f"instruction {code:#x} is not for seccomp")


def _holds(operation, left, right):
    if operation == 0x10:
        return left == right
    if operation == 0x20:
        return left > right
    if operation == 0x30:
        return left >= right
    if operation == 0x40:
        return bool(left & right)
    raise ValueError(f"jump {operation:#x} does not exist")


def _arithmetic(operation, left, right):
    if operation == 0x00:
        value = left + right
    elif operation == 0x10:
        value = left - right
    elif operation == 0x20:
        value = left * right
    elif operation == 0x30:
        value = left // right if right else 0
    elif operation == 0x40:
        value = left | right
    elif operation == 0x50:
        value = left & right
    elif operation == 0x60:
        value = left << (right & 31)
    elif operation == 0x70:
        value = left >> (right & 31)
    elif operation == 0x80:
        value = -left
    elif operation == 0xA0:
        value = left ^ right
    else:
        raise ValueError(f"operation {operation:#x} does not exist")
    return value & _WORD


def denied(programs, calls, accepted=(ALLOW, LOG)):
    """The first of ``calls`` that a thread with these filters may not make, or None.

    :param programs: all the thread's filters; every one must accept the call.
    :param calls: (name, arguments) pairs; what the architecture does not have is not called.
    :param accepted: verdicts that will do.
    :return: the name.
    :raises ValueError: as evaluate.
    """
    for name, arguments in calls:
        number = NUMBERS[name]
        if number is None:
            continue
        data = encode(number, arguments)
        for program in programs:
            if evaluate(program, data) & _ACTION not in accepted:
                return name
    return None
