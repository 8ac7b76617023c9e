# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs without unwind information, such as Go's, are given the runtime where that is safe: see frameless.c."""

from __future__ import annotations

import pytest
from test_attach_killed import code_of_c_library, runtimes

from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import bootstrap

# Generous: the threads share the processors with everything else.
SECONDS = 60
# Of one thread. Beyond it comes one that is on its way to the limit.
MOST_STOPS = 100


@pytest.fixture(name="frameless")
def fixture_frameless(of_source):
    """A function that starts the victim in one of its modes."""
    return lambda mode: of_source("frameless", mode, "-O1", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")


def test_thread_that_waits(frameless, padded, runtime, trigger):
    """Seen to fail, after the whole time limit: *has a stack that cannot be unwound*."""
    victim = frameless("waits")
    row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)
    assert (row.outcome, row.attached) == ("patched", True), row
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0


@pytest.mark.parametrize("mode", ["called_back", "computes"])
def test_none_is_where_that_is_safe(mode, frameless, padded, runtime, trigger, monkeypatch, calls):
    """Guards a process whose thread may hold a lock of the C library, and one that computes from endless stops.

    Seen to attach to the thread that the C library has called, with any two words that lead there taken for those of
    the thread's start; and to stop the one that computes 500 times.
    """
    original = bootstrap.Bootstrap.run

    def run(self):
        calls.note()
        return original(self)

    monkeypatch.setattr(bootstrap.Bootstrap, "run", run)
    victim = frameless(mode)
    code = code_of_c_library(victim)
    row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)
    assert (row.outcome, row.attached) == ("not_patchable", False), row.reason
    assert "cannot be given the runtime while it runs" in row.reason
    assert len(calls) < MOST_STOPS
    assert runtimes(victim) == 0
    assert code_of_c_library(victim) == code
    assert victim.ask("answer") == "20"
    assert victim.end() == 0
