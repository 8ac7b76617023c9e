# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another process's memory."""

from __future__ import annotations

import pytest
from harness.foreign_memory import write_memory

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessGone, StateUnreadable


@pytest.fixture(params=["system call", "file"], name="way")
def fixture_way(request, monkeypatch):
    """Both ways: process_vm_readv and, where that is missing, /proc/PID/mem."""
    if request.param == "file":
        monkeypatch.setattr(memory, "process_vm_readv", None)


def test_reading(way, padded, start, look):
    victim = start(padded)
    state = look(victim).state
    data = bytes(range(256)) * 16
    write_memory(victim.pid, state.request, data)
    assert memory.read_memory(victim.pid, state.request, len(data)) == data
    assert memory.read_ranges(victim.pid, [(state.request + 5, 3), (state.request, 2)]) == [b"\5\6\7", b"\0\1"]


def test_unmapped_memory(way, padded, start):
    victim = start(padded)
    with pytest.raises(StateUnreadable, match=f"process {victim.pid} has no readable memory at 0x10"):
        memory.read_memory(victim.pid, 16, 8)


@pytest.mark.parametrize("address", [
    (1 << 56) - 4, 1 << 63, (1 << 64) - 8, 1 << 64, (1 << 64) + 0x10000, -8, 0xffffffffff600000,
])
def test_no_number_reaches_the_kernel_as_another(way, address, padded, start):
    """Guards against a process whose addresses are none. Seen to fail with ``OverflowError``, by the file."""
    victim = start(padded)
    for act in (lambda: memory.read_memory(victim.pid, address, 8),
                lambda: memory.read_ranges(victim.pid, [(4096, 1 << 62)])):
        with pytest.raises(StateUnreadable, match="has no readable memory"):
            act()


def test_process_that_has_ended(way, padded, start, look):
    victim = start(padded)
    state = look(victim).state
    victim.kill()
    with pytest.raises(ProcessGone):
        memory.read_memory(victim.pid, state.request, 8)
    with pytest.raises(ProcessGone):
        memory.may_write(victim.pid)


def test_many_ranges(padded, start, look):
    victim = start(padded)
    address = look(victim).state.request
    write_memory(victim.pid, address, bytes(range(200)) * 10)
    parts = memory.read_ranges(victim.pid, [(address + index, 1) for index in range(1500)])
    assert b"".join(parts) == (bytes(range(200)) * 10)[:1500]
