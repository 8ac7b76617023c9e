# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another process's memory: process_vm_readv(2) and /proc/PID/mem, proc(5)."""

from __future__ import annotations

import ctypes
import errno
import os
from itertools import accumulate

from ..arch.address_space import END_OF_USER_SPACE
from .errors import NotMapped, ProcessForbidden, ProcessGone
from .procfs import explained

# Kernel: UIO_MAXIOV, the longest vector.
VECTOR_LIMIT = 1024
# Bytes: more than we want of any process at once.
LARGEST_READ = 1 << 26


class IoVector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _bind(name):
    """The C library's function ``name``, or None where it has none."""
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return None
    function.restype = ctypes.c_ssize_t
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_ulong,
    )
    return function


process_vm_readv = _bind("process_vm_readv")
process_vm_writev = _bind("process_vm_writev")


def require_user_space(pid, address, size):
    """Make sure that a process can have memory there; raises NotMapped."""
    # Addresses come from other processes' memory: a larger number would be another one by the time that the kernel
    # sees it.
    if not (address >= 0 and 0 <= size <= LARGEST_READ and address + size <= END_OF_USER_SPACE):
        raise _unmapped(pid, address, size)


def _unmapped(pid, address, size):
    return NotMapped(pid, f"process {pid} has no readable memory at {address:#x} ({size} bytes)")


def _failure(pid, address, size, number):
    if number in (errno.EFAULT, errno.EIO):
        return _unmapped(pid, address, size)
    return explained(pid, OSError(number, os.strerror(number)))


def read_memory(pid, address, size):
    """``size`` bytes at ``address`` of process ``pid``.

    :raises ProcessGone: the process has ended.
    :raises ProcessForbidden: ptrace access is needed and not granted.
    :raises NotMapped: nothing is there, or not all of it.
    """
    return read_ranges(pid, [(address, size)])[0]


def read_ranges(pid, ranges):
    """Several pieces of memory with as few system calls as possible.

    :param ranges: (address, size in bytes) pairs.
    :return: a list of bytes, in the same order.
    :raises: as read_memory.
    """
    for address, size in ranges:
        require_user_space(pid, address, size)
    result = []
    for start in range(0, len(ranges), VECTOR_LIMIT):
        result += _read_vector(pid, ranges[start:start + VECTOR_LIMIT])
    return result


def read_present(pid, ranges):
    """As read_ranges(), but with None for each piece that is not mapped, or not all of it."""
    try:
        return read_ranges(pid, ranges)
    except NotMapped:
        return [_read_or_none(pid, address, size) for address, size in ranges]


def _read_or_none(pid, address, size):
    try:
        return read_memory(pid, address, size)
    except NotMapped:
        return None


def _read_vector(pid, ranges):
    if process_vm_readv is None:
        return _read_file(pid, ranges)
    total = sum(size for _address, size in ranges)
    data = ctypes.create_string_buffer(max(total, 1))
    local = IoVector(ctypes.addressof(data), total)
    remote = (IoVector * len(ranges))(*ranges)
    count = process_vm_readv(pid, ctypes.byref(local), 1, remote, len(ranges), 0)
    if count != total:
        number = ctypes.get_errno() if count < 0 else errno.EFAULT
        if number in (errno.ENOSYS, errno.EPERM):
            # Missing from the kernel, or denied to us by a filter that may well allow files.
            return _read_file(pid, ranges)
        raise _failure(pid, ranges[0][0], total, number)
    whole = data.raw[:total]
    if len(ranges) == 1:
        return [whole]
    ends = list(accumulate([size for _address, size in ranges]))
    return [whole[start:end] for start, end in zip((0, *ends), ends)]


def _read_file(pid, ranges):
    parts = []
    address = size = 0
    try:
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for address, size in ranges:
                part = os.pread(descriptor, size, address)
                if len(part) != size:
                    raise _unmapped(pid, address, size)
                parts.append(part)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failure(pid, address, size, error.errno) from error
    return parts


def may_write(pid):
    """Whether this user has ptrace access to ``pid`` (the process is not touched).

    :raises ProcessGone: the process has ended.
    """
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        found = explained(pid, error)
        if isinstance(found, ProcessGone):
            raise found from error
        if isinstance(found, ProcessForbidden):
            return False
        raise
    return True
