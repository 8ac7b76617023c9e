# SPDX-License-Identifier: LGPL-2.1-or-later
"""Maps a file of its own executable, and has a write lease on it (fcntl(2)), which it never gives up.

Whoever opens the file waits for that, 45 seconds unless the machine is told otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import sys

descriptor = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGIO, signal.SIG_IGN)
mapped = mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC, offset=mmap.PAGESIZE)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
while True:
    # Once it was broken, another one keeps the next reader.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    signal.sigtimedwait([], 0.001)
