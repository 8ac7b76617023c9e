# SPDX-License-Identifier: LGPL-2.1-or-later
"""Has as many mappings as the kernel allows, or so many files mapped: maps_much.py FILE [COUNT].

Every second page of the address space that it takes is executable and of FILE, so that none is joined to the next.
With COUNT each of them is of a file of its own, a copy of FILE beside it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

CODE = mmap.PROT_READ | mmap.PROT_EXEC
# vm.max_map_count, less what a Python has before.
MOST = 65530 - 2000

path = sys.argv[1]
# Python's own mmap keeps a descriptor of each.
call = ctypes.CDLL(None, use_errno=True).mmap
call.restype = ctypes.c_void_p
call.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long


def map_page(name, protection):
    descriptor = os.open(name, os.O_RDONLY)
    if call(None, mmap.PAGESIZE, protection, mmap.MAP_PRIVATE, descriptor, mmap.PAGESIZE) == ctypes.c_void_p(-1).value:
        sys.exit(os.strerror(ctypes.get_errno()))
    os.close(descriptor)


if len(sys.argv) > 2:
    with open(path, "rb") as stream:
        contents = stream.read()
    for number in range(int(sys.argv[2])):
        name = f"{path}.{number}"
        with open(name, "wb") as stream:
            stream.write(contents)
        map_page(name, CODE)
        os.unlink(name)
else:
    for number in range(MOST):
        map_page(path, CODE if number % 2 else mmap.PROT_READ)
print("ready", flush=True)
sys.stdin.read()
