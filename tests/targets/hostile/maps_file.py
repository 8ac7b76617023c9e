# SPDX-License-Identifier: LGPL-2.1-or-later
"""Maps each file that it is given executable, says so, and stays: maps_file.py FILE [FILE...].

Of a file of several pages that is the second one, where the code of a library lies; else the first.
"""

from __future__ import annotations

import mmap
import os
import sys

kept = []
for path in sys.argv[1:]:
    descriptor = os.open(path, os.O_RDONLY)
    offset = mmap.PAGESIZE if os.fstat(descriptor).st_size > mmap.PAGESIZE else 0
    kept.append(mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC, offset=offset))
    os.close(descriptor)
print("ready", flush=True)
sys.stdin.read()
