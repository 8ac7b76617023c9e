# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another process's memory."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import maps, memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import ProcessGone, StateUnreadable


@pytest.fixture(params=["system call", "file"], name="way")
def fixture_way(request, monkeypatch):
    """Both ways: process_vm_readv and, where that is missing, /proc/PID/mem."""
    if request.param == "file":
        monkeypatch.setattr(memory, "process_vm_readv", None)
        monkeypatch.setattr(memory, "process_vm_writev", None)


def test_read_and_write(way, padded, start, look):
    victim = start(padded)
    state = look(victim).state
    data = bytes(range(256)) * 16
    memory.write_memory(victim.pid, state.request, data)
    assert memory.read_memory(victim.pid, state.request, len(data)) == data
    assert memory.read_ranges(victim.pid, [(state.request + 5, 3), (state.request, 2)]) == [b"\5\6\7", b"\0\1"]


def test_unmapped_memory(way, padded, start):
    victim = start(padded)
    with pytest.raises(StateUnreadable, match=f"process {victim.pid} has no readable memory at 0x10"):
        memory.read_memory(victim.pid, 16, 8)
    with pytest.raises(StateUnreadable):
        memory.write_memory(victim.pid, 16, b"12345678")


@pytest.mark.parametrize("address", [
    (1 << 56) - 4, 1 << 63, (1 << 64) - 8, 1 << 64, (1 << 64) + 0x10000, -8, 0xffffffffff600000,
])
def test_no_number_reaches_the_kernel_as_another(way, address, padded, start):
    """Guards against a process whose addresses are none. Seen to fail with ``OverflowError``, by the file."""
    victim = start(padded)
    for act in (lambda: memory.read_memory(victim.pid, address, 8),
                lambda: memory.write_memory(victim.pid, address, b"12345678"),
                lambda: memory.read_ranges(victim.pid, [(4096, 1 << 62)])):
        with pytest.raises(StateUnreadable, match="has no readable memory"):
            act()


def test_read_only_memory_is_not_written(padded, start):
    victim = start(padded)
    code = maps.read_code_maps(victim.pid)[0]
    with pytest.raises(StateUnreadable):
        memory.write_memory(victim.pid, code.start, b"12345678")


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
    memory.write_memory(victim.pid, address, bytes(range(200)) * 10)
    parts = memory.read_ranges(victim.pid, [(address + index, 1) for index in range(1500)])
    assert b"".join(parts) == (bytes(range(200)) * 10)[:1500]
