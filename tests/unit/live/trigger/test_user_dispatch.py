# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads whose system calls the kernel sends to the program itself: see dispatching.c."""

from __future__ import annotations

import ctypes
import os
import re

import pytest
from conftest import compiled

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import subject

PR_SET_SYSCALL_USER_DISPATCH, OFF = 59, 0
# Before Linux 6.4 a tracer can't ask (docs/containers-and-sandboxes.md).
KERNEL = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
needs_kernel = pytest.mark.skipif(
    KERNEL < (6, 4) or ctypes.CDLL(None).prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF, 0, 0, 0) != 0,
    reason="the kernel has no such thing, or does not tell of it")


@pytest.fixture(name="dispatching", params=[True, False], ids=["preloaded", "attached to"])
def fixture_dispatching(request, of_source, runtime, monkeypatch):
    """A function that starts the victim in one of its modes."""
    if request.param:
        monkeypatch.setenv("LD_PRELOAD", str(runtime / "libpulp.so"))
    return lambda mode: of_source("dispatching", mode, "-O2")


@needs_kernel
def test_thread_that_may_make_no_system_call(dispatching, padded, runtime, trigger):
    """Guards the process; seen to fail: SIGSYS ends it, as the borrowed thread has that signal blocked."""
    victim = dispatching("block")
    row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=3).apply(victim.pid)
    assert (row.outcome, row.changed) == ("failed", False), row
    assert "has its system calls sent to the program itself" in row.reason
    assert victim.ask("answer") == "20"
    assert victim.end() == 0


@needs_kernel
def test_thread_that_may_make_them_now(dispatching, padded, runtime, trigger):
    """Guards against refusing what can be served: programs under Wine wait where their calls are allowed."""
    victim = dispatching("allow")
    row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=60).apply(victim.pid)
    assert row.outcome == "patched", row.reason
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0


@pytest.mark.parametrize("version, outcome", [
    ((5, 10), "patched"), ((5, 11), "not_patchable"), ((6, 1), "not_patchable"), ((6, 3), "not_patchable"),
    ((6, 4), "patched")])
@pytest.mark.parametrize("preload", [True, False], ids=["preloaded", "attached to"])
def test_wine_where_the_kernel_does_not_tell(version, outcome, preload, padded, start, runtime, trigger, tmp_path,
                                             monkeypatch):
    """Guards the process; seen to fail on no kernel but those, where SIGSYS ends it."""
    (tmp_path / "ntdll.c").write_text("int wine;\nint windows(void) { return wine; }\n", encoding="utf-8")
    compiled("-fPIC", "-shared", tmp_path / "ntdll.c", "-o", tmp_path / "ntdll.so")
    victim = start(padded, preload=preload, besides=(tmp_path / "ntdll.so",))
    monkeypatch.setattr(subject, "kernel_version", lambda: version)
    row = trigger(padded, runtime=str(runtime / "libpulp.so")).apply(victim.pid)
    assert row.outcome == outcome, row
    assert ("runs under Wine" in row.reason) == (outcome != "patched")
    assert victim.ask("answer") == ("5001" if outcome == "patched" else "20")
    assert victim.end() == 0
