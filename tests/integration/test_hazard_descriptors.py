# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File descriptors of the process, which are all the program's own: it may close any number, and use it again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from harness.apart import descriptors

PAIRS = {"version": "patched_version"}


@pytest.fixture
def own_file():
    """The path of a file that the program will open: in memory, where a file may be as long as addresses are large."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory) / "own"


def test_program_that_closes_all_files_meanwhile(variant, own_file, target, start, livepatch):
    """Guards the file that the program opens under the number that the runtime had for /proc/self/mem.

    Seen to fail, with code at an offset of 128 TB in that file, when the number was believed in ulp_text_write(); and
    with the file closed, when it was in ulp_text_close().
    """
    build = target("blocked", variant)
    patch = livepatch(build.patch("closing", PAIRS, source="closing.c", flags=("-DVERSION=2",)))
    victim = start(build, environment={"OWN_FILE": str(own_file)})
    patch.apply(victim)
    assert own_file.stat().st_size == 0
    assert descriptors(victim.pid) == ["0", "1", "2", "3"]
    assert os.readlink(f"/proc/{victim.pid}/fd/3") == str(own_file)
    assert victim.number("version") == 2
    patch.revert(victim)
    assert descriptors(victim.pid) == ["0", "1", "2", "3"]
    assert victim.number("version") == 1
