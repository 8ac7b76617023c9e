# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loads a library from a sealed file in memory that is called as the runtime is: false_memory_file.py TARGET FILE."""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys

ADD_SEALS, ALL_SEALS = 1033, 15
target = ctypes.CDLL(sys.argv[1])
descriptor = os.memfd_create("libpulp.so", os.MFD_ALLOW_SEALING)
with open(sys.argv[2], "rb") as stream:
    os.write(descriptor, stream.read())
fcntl.fcntl(descriptor, ADD_SEALS, ALL_SEALS)
runtime = ctypes.CDLL(f"/proc/self/fd/{descriptor}")
print("ready", flush=True)
sys.stdin.read()
