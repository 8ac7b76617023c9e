# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where in a process a jump may land: on memory that is free, and that nothing else will come to need.

A pun's displacement is given, so the page that it leads to is, too.  The kernel
makes sure that nothing is there; this makes sure that the page is in nobody's
way later: the heap grows upwards (brk(2)), the main thread's stack downwards as
far as its limit (the kernel keeps it off other mappings by a gap,
Documentation/admin-guide/kernel-parameters.txt, stack_guard_gap), and who has
reserved address space (PROT_NONE) often reserves more beside it.
"""

from __future__ import annotations

from bisect import bisect_right

from ..abi import LANDING_SIZE
from ..arch.address_space import END_OF_LINKED_SPACE, PAGE_SIZE
from ..named_tuple import NamedTuple
from .errors import ProcessUnpatchable
from .maps import MemoryMap, parse_maps
from .procfs import read_bytes, text_lines

# Bytes that the heap should be able to grow by, and those that it must.
ROOM_FOR_HEAP = 1 << 30
LEAST_ROOM_FOR_HEAP = 1 << 26
_ROOM_BESIDE_RESERVATIONS = 1 << 20
_STACK_GUARD_GAP = 256 * PAGE_SIZE
# Where the limit is "unlimited", the kernel itself reserves no more for the stack than a part of the address space.
_LARGEST_STACK = 1 << 36
# Nothing is placed below, whatever vm.mmap_min_addr says.
_LOWEST = 1 << 20
# How the map shows pages that the runtime has mapped for landings.
_OWN_NAME = "/memfd:ulp:landings"
# What else the worker may need: a stack, the patch library, slots.
_OTHER_MAPPINGS = 32

# Of all pages within a jump's reach so many are looked at.
_LOOKED_AT = 4096

GOOD, NEAR_HEAP, UNUSABLE = range(3)


class _Zone(NamedTuple):
    """Addresses from ``start`` to ``end`` that a landing must keep clear of."""

    start: int
    end: int


class AddressSpaceRoom:
    """What is free in one process, by its map and its limits as they are now."""

    def __init__(self, pid):
        """
        :param pid: the process, or a thread of it that has not ended.
        :raises ProcessGone, ProcessForbidden: it cannot be looked at.
        """
        mappings = parse_maps(MemoryMap(pid).data)
        self._count = len(mappings)
        limits = _limits(pid)
        zones = []
        own = []
        heap = 0
        for mapping in mappings:
            if mapping.path == _OWN_NAME:
                own.append(mapping.start)
                continue
            start, end = mapping.start, mapping.end
            if mapping.path == "[heap]":
                heap = end
            elif mapping.path == "[stack]":
                start = min(start, end - min(limits.get("Max stack size", _LARGEST_STACK), _LARGEST_STACK))
                start -= _STACK_GUARD_GAP
            elif mapping.permissions.startswith("---"):
                start, end = start - _ROOM_BESIDE_RESERVATIONS, end + _ROOM_BESIDE_RESERVATIONS
            zones.append(_Zone(start, end))
        self._own = frozenset(own)
        self._heap = heap or _program_break(pid)
        self._zones = _merged(zones)
        self._starts = [zone.start for zone in self._zones]

    def judge(self, address):
        """GOOD, NEAR_HEAP or UNUSABLE: what a landing at ``address`` would be."""
        start = address & -PAGE_SIZE
        end = (address + LANDING_SIZE + PAGE_SIZE - 1) & -PAGE_SIZE
        if not _LOWEST <= start < end <= END_OF_LINKED_SPACE - PAGE_SIZE:
            return UNUSABLE
        index = bisect_right(self._starts, end - 1) - 1
        if index >= 0 and self._zones[index].end > start:
            return UNUSABLE
        if self._heap:
            if self._heap <= end and start < self._heap + LEAST_ROOM_FOR_HEAP:
                return UNUSABLE
            if self._heap <= end and start < self._heap + ROOM_FOR_HEAP:
                return NEAR_HEAP
        return GOOD

    def vacant_pages(self, low, high):
        """Pages between the addresses ``low`` and ``high`` that are GOOD, and hold no landing yet.

        :return: generator of addresses, ascending; they are spread over all that there are.
        """
        first = -(-max(low, _LOWEST) // PAGE_SIZE)
        pages = min(high, END_OF_LINKED_SPACE) // PAGE_SIZE - first
        for index in range(0, pages, max(pages // _LOOKED_AT, 1)):
            page = (first + index) * PAGE_SIZE
            if page not in self._own and self.judge(page) == GOOD:
                yield page

    def require_mappings(self, pid, count):
        """Make sure that the kernel lets the process have ``count`` more landings (vm.max_map_count)."""
        with open("/proc/sys/vm/max_map_count", encoding="ascii") as file:
            most = int(file.read())
        # A landing may lie on two pages; code of others is split where it is written to.
        if self._count + 2 * count + _OTHER_MAPPINGS > most:
            raise ProcessUnpatchable(
                pid,
                f"process {pid} has {self._count} mappings, and needs up to {2 * count} more for this livepatch;"
                f" the kernel allows {most} (sysctl vm.max_map_count)",
            )


def _merged(zones):
    """The zones ascending and disjoint."""
    merged = []
    for zone in sorted(zones):
        if merged and zone.start <= merged[-1].end:
            merged[-1] = _Zone(merged[-1].start, max(merged[-1].end, zone.end))
        else:
            merged.append(zone)
    return merged


def _limits(pid):
    """{name: soft limit in bytes} of /proc/PID/limits; "unlimited" is left out."""
    found = {}
    for line in text_lines(read_bytes(pid, "limits")):
        name, values = line[:26].decode("ascii", "replace").strip(), line[26:].split()
        if values and values[0].isdigit():
            found[name] = int(values[0])
    return found


def _program_break(pid):
    """Where the heap will begin (start_brk, proc(5), field 47 of stat); 0: it is not told."""
    fields = read_bytes(pid, "stat").rpartition(b")")[2].split()
    return int(fields[44]) if len(fields) > 44 else 0
