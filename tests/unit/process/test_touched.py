# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages of a process hold anything."""

from __future__ import annotations

import ctypes
import mmap
import os

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import touched as module
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.touched import touched

PAGES = 64


@pytest.fixture(name="memory")
def fixture_memory():
    """(mmap.mmap of fresh pages, its address)."""
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        place = ctypes.c_char.from_buffer(memory)
        yield memory, ctypes.addressof(place)
        del place


def test_pages_that_were_written(memory):
    """Seen to fail, with the page that is swapped or in memory left out, with one of the two bits alone."""
    data, start = memory
    assert touched(os.getpid(), start, start + PAGES * mmap.PAGESIZE) == []
    for page in (0, 3, 4, PAGES - 1):
        data[page * mmap.PAGESIZE + 100] = 1
    found = touched(os.getpid(), start, start + PAGES * mmap.PAGESIZE)
    assert [((low - start) // mmap.PAGESIZE, (high - start) // mmap.PAGESIZE) for low, high in found] == [
        (0, 1), (3, 5), (PAGES - 1, PAGES)]


def test_swapped_pages_count():
    """By the kernel's documentation: there may be no swap here.  Seen to fail with bit 63 alone."""
    assert [bool(module._USED[high]) for high in (0x00, 0x20, 0x40, 0x80, 0xC0)] == [False, False, True, True, True]


def test_all_of_it_where_that_cannot_be_told(memory, monkeypatch):
    """Guards coroutines in what the kernel does not describe; seen to fail with nothing found."""
    _data, start = memory
    end = start + PAGES * mmap.PAGESIZE
    assert touched(2 ** 22 + 1, start, end) == [(start, end)]
    monkeypatch.setattr(os, "pread", lambda *_arguments: b"")
    assert touched(os.getpid(), start, end) == [(start, end)]
