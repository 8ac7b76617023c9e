# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process says of itself, held against its memory map.

The state block is memory of the process, and whoever owns that can write
anything there: code that reaches over half of the address space, a buffer where
nothing can be written, tables of millions of entries.  The map is the kernel's.
What the map contradicts is refused before anything is done with it.  That a
process merely claims to be patched cannot be told: it could as well have
patched itself.
"""

from __future__ import annotations

from .. import abi
from .errors import FalseClaim
from .maps import MemoryMap, extent_around, runtime_mapping

# Bytes: what a request can name of a library, by 32 bits.
_LARGEST_CODE = 1 << 32
# More than any runtime takes, in bytes.
_LARGEST_REQUEST = 1 << 24


class Claims:
    """The map of one process, to hold claims against."""

    def __init__(self, pid, memory_map=None):
        """
        :param memory_map: a maps.MemoryMap that was read not long ago; read now when None.
        """
        self.pid = pid
        self._fresh = memory_map is None
        self._take(memory_map or MemoryMap(pid))

    def _take(self, memory_map):
        mapping = runtime_mapping(memory_map.code)
        self._lines = memory_map.lines
        # Its .bss is anonymous memory.
        self._own = ((0, 0),) if mapping is None else ((0, 0), (mapping.device, mapping.inode))
        # What was found last: as a rule the next piece lies there as well.
        self._extents = {}

    def require_data(self, address, size, what):
        """Make sure that ``size`` bytes at ``address`` lie in the runtime's own data, not in that of some other file.

        :raises FalseClaim: it does not; the sentence calls it ``what``.
        """
        self._require(address, address + size, b"rw.p", self._own, what)

    def require_table(self, address, size, what):
        """Make sure that they lie in memory that the process may read and write; raises as require_data()."""
        self._require(address, address + size, b"rw..", None, what)

    def require_runtime_code(self, start, end, what):
        """Make sure that all from ``start`` to ``end`` is code of the runtime; raises as require_data()."""
        self._require(start, end, b"r.x.", self._own, what)

    def require_code(self, start, end, what):
        """Make sure that it begins and ends in code; raises as require_data()."""
        if not 0 < end - start <= _LARGEST_CODE:
            raise self.refused(what)
        self._require(start, start + 1, b"r.x.", None, what)
        self._require(end - 1, end, b"r.x.", None, what)

    def _require(self, start, end, permissions, files, what):
        if self._lies_in(start, end, permissions, files):
            return
        if not self._fresh:
            # A library may have been loaded since.
            self._fresh = True
            self._take(MemoryMap(self.pid))
            if self._lies_in(start, end, permissions, files):
                return
        raise self.refused(what)

    def _lies_in(self, start, end, permissions, files):
        low, high = self._extents.get((permissions, files), (0, 0))
        if low <= start < end <= high:
            return True
        found = extent_around(self._lines, start, end, permissions, files)
        if found is not None:
            self._extents[permissions, files] = found
        return found is not None

    def refused(self, what):
        """The FalseClaim about ``what``, to be raised by the caller."""
        return FalseClaim(
            self.pid,
            f"the runtime's state block in process {self.pid} cannot be true: by the process's memory map, its {what}"
            " cannot be where it says; restart the process",
        )


def require_header(claims, header):
    """Make sure that what the header of a state block (fields as abi.STATE) names can be there."""
    if not abi.REQUEST.size <= header.request_capacity <= _LARGEST_REQUEST:
        raise claims.refused("request buffer")
    claims.require_data(header.request, header.request_capacity, "request buffer")
    claims.require_data(header.threads, abi.THREAD_SETS * abi.THREAD_WAYS * abi.THREAD.size, "table of threads")
    claims.require_data(header.messages, abi.MESSAGES.size, "log")
    claims.require_runtime_code(header.entry, header.entry + 1, "entry for requests")
    claims.require_runtime_code(header.text_start, header.text_end, "code")
