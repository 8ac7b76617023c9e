# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a process has executed code of a file."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import referenced as module
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.referenced import (
    forget_references,
    has_executed,
)


def test_code_that_was_executed(tmp_path):
    """Guards against loading a library, or reading its data, being taken for execution."""
    # Of the C library every process has code that runs; the copy of another one has none that does by itself.
    paths = [line.split()[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    original = next(path for path in paths if "/libm.so" in path or "/libm-" in path)
    copy = tmp_path / "copy.so"
    shutil.copy(original, copy)
    library = ctypes.CDLL(str(copy))
    library.floor.restype, library.floor.argtypes = ctypes.c_double, [ctypes.c_double]
    floor = library.floor
    pid = os.getpid()
    assert forget_references(pid)
    assert has_executed(pid, [str(copy)]) is False
    assert floor(2.5) == 2
    assert has_executed(pid, [str(tmp_path / "another"), str(copy)[:-2]]) is True
    assert has_executed(pid, [str(tmp_path / "another")]) is False
    assert forget_references(pid)
    assert has_executed(pid, [str(copy)]) is False


def test_a_process_that_has_ended():
    """Nothing can be told of it."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not forget_references(child.pid)
    assert has_executed(child.pid, ["/"]) is None


def test_a_kernel_that_does_not_tell(monkeypatch):
    """smaps without ``Referenced``, as of a kernel without CONFIG_PROC_PAGE_MONITOR."""
    monkeypatch.setattr(module, "read_long", lambda *_arguments: b"1000-2000 r-xp 0 0:0 1  /a\nSize: 4 kB\n")
    assert has_executed(1, ["/a"]) is None
