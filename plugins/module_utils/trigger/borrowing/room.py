# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a process have the memory for what we do in it?

Where a control group limits memory, the kernel ends a process of the group that goes beyond.  So this is known before
anything is done.  RLIMIT_AS, RLIMIT_MEMLOCK, RLIMIT_NPROC and pids.max make calls fail instead, and are told by those.
"""

from __future__ import annotations

import os

from ...printable import printable
from ...process.control_group import memory_left
from ...process.errors import ProcessUnavailable
from ...process.runtime import NO_RUNTIME

# Bytes: of the worker's stack, of stubs, slots and tables; of the runtime with its state block and what it has mapped.
_FOR_REQUEST = 1 << 20
_FOR_RUNTIME = 2 << 20


def require_memory(subject, livepatch=None):
    """Make sure that a request can be carried out without the kernel's ending the process for want of memory.

    :param subject: process.subject.Subject.
    :param livepatch: livepatch.livepatch.Livepatch that is to be loaded; None: nothing is loaded.
    :raises ProcessUnavailable: its control group has less left; the sentence says what to do.
    """
    memory = memory_left(subject.proc_tid)
    if memory is None:
        return
    needed = _FOR_REQUEST
    if livepatch is not None:
        needed += _size_of(livepatch.path)
        needed += _FOR_RUNTIME if subject.state is NO_RUNTIME else 0
    if memory.left < needed:
        raise ProcessUnavailable(
            subject.pid,
            f"process {subject.pid} ({subject.name}) may have {max(memory.left, 0) >> 10} KB of memory more, by the"
            f" limit of the control group {printable(memory.path)}, and needs up to {needed >> 10}: the kernel might"
            " end it; raise the limit first (memory.max; systemctl set-property UNIT MemoryMax=)")


def _size_of(path):
    try:
        return os.path.getsize(path)
    except OSError:
        # Gone since it was read, which the next one who needs it tells better.
        return 0
