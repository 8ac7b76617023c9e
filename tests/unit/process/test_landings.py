# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a jump may land: clear of what is there, and of what is going to be there."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import landings
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessUnpatchable
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.landings import (
    GOOD,
    LEAST_ROOM_FOR_HEAP,
    NEAR_HEAP,
    ROOM_FOR_HEAP,
    UNUSABLE,
    AddressSpaceRoom,
)

PAGE = 4096
PROGRAM_END, HEAP_END = 0x555555560000, 0x555555800000
RESERVED, RESERVED_END = 0x7F0000000000, 0x7F0004000000
LIBRARY, LIBRARY_END = 0x7F1000000000, 0x7F1000200000
STACK, STACK_END = 0x7FFFFFFDE000, 0x7FFFFFFFF000
MAP = f"""\
555555554000-{PROGRAM_END:x} r-xp 00000000 08:01 1    /usr/bin/program
555555700000-{HEAP_END:x} rw-p 00000000 00:00 0    [heap]
{RESERVED:x}-{RESERVED_END:x} ---p 00000000 00:00 0
{LIBRARY:x}-{LIBRARY_END:x} r-xp 00000000 08:01 2    /usr/lib/library.so
{STACK:x}-{STACK_END:x} rw-p 00000000 00:00 0    [stack]
""".encode()
GUARD_GAP = 256 * PAGE


class _Map:
    def __init__(self, _pid):
        self.data = MAP


@pytest.fixture(name="room")
def fixture_room(monkeypatch):
    """A function that gives the AddressSpaceRoom of MAP, with a limit of the stack as /proc/PID/limits has it."""

    def room(stack_limit="8388608"):
        limits = f"Max stack size            {stack_limit:<20} unlimited            bytes\n"
        monkeypatch.setattr(landings, "MemoryMap", _Map)
        monkeypatch.setattr(landings, "read_bytes", lambda _pid, path: limits.encode() if path == "limits" else b"")
        return AddressSpaceRoom(1)

    return room


@pytest.mark.parametrize(("address", "judgement"), [
    (0, UNUSABLE),  # vm.mmap_min_addr
    (0x10000000, GOOD),
    (PROGRAM_END - 1, UNUSABLE),
    (PROGRAM_END - PAGE - 8, UNUSABLE),
    (HEAP_END, UNUSABLE),
    (HEAP_END + LEAST_ROOM_FOR_HEAP - PAGE, UNUSABLE),
    (HEAP_END + LEAST_ROOM_FOR_HEAP, NEAR_HEAP),
    (HEAP_END + ROOM_FOR_HEAP, GOOD),
    (RESERVED - PAGE, UNUSABLE),  # who has reserved so much reserves more beside it
    (RESERVED + PAGE, UNUSABLE),
    (RESERVED_END + PAGE, UNUSABLE),
    (RESERVED - (2 << 20), GOOD),
    (RESERVED_END + (2 << 20), GOOD),
    (LIBRARY - 8, UNUSABLE),  # fifteen bytes that reach into what is mapped
    (LIBRARY - PAGE, GOOD),
    (LIBRARY_END, GOOD),
    (STACK - PAGE, UNUSABLE),
    (STACK_END - (8 << 20), UNUSABLE),
    (STACK_END - (8 << 20) - GUARD_GAP, UNUSABLE),
    (STACK_END - (8 << 20) - GUARD_GAP - PAGE, GOOD),
    (0x7FFFFFFFF000, UNUSABLE),
    (1 << 47, UNUSABLE),
])
def test_judgement(room, address, judgement):
    assert room().judge(address) == judgement


def test_stack_by_its_limit(room):
    """The main thread's stack grows as far as RLIMIT_STACK, or where that is unlimited as far as the kernel lets it."""
    below = STACK_END - (64 << 20)
    assert room().judge(below) == GOOD
    assert room("268435456").judge(below) == UNUSABLE
    assert room("268435456").judge(STACK_END - (300 << 20)) == GOOD
    assert room("unlimited").judge(STACK_END - (300 << 20)) == UNUSABLE


def test_vacant_pages_are_good_ones(room):
    pages = list(room().vacant_pages(RESERVED - (4 << 20), RESERVED_END + (4 << 20)))
    assert pages and all(room().judge(page) == GOOD and page % PAGE == 0 for page in pages)


def test_mappings_are_counted_before(room, monkeypatch, tmp_path):
    """vm.max_map_count: refused with both numbers, and before anything is mapped."""
    (tmp_path / "max_map_count").write_text("65530\n")
    monkeypatch.setattr("builtins.open", lambda *_arguments, **_options: (tmp_path / "max_map_count").open())
    found = room()
    found.require_mappings(7, 1000)
    with pytest.raises(ProcessUnpatchable, match="has 5 mappings, and needs up to 80000 more .* 65530"):
        found.require_mappings(7, 40000)
