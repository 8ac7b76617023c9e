# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of which no thread ever waits are given the runtime, too: see busy.c."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.bootstrap import Bootstrap

# Generous: the threads share the processors with everything else.
SECONDS = 60
# Of stops: some ten times as many as they take.
MOST_STOPS = {"compute": 30, "branch": 30, "descend": 120}


@pytest.fixture(name="stops")
def fixture_stops(monkeypatch):
    """A list that gets the TID of each thread that is stopped to load the runtime."""
    stops = []
    run = Bootstrap.run
    monkeypatch.setattr(Bootstrap, "run", lambda self: stops.append(self.tid) or run(self))
    return stops


@pytest.mark.parametrize(
    ("mode", "threads"), [("compute", 1), ("compute", 15), ("branch", 1), ("descend", 1), ("allocate", 1),
                          ("allocate", 4), ("python", 1)],
)
def test_no_thread_waits(mode, threads, busy, padded, runtime, trigger, stops):
    """Seen to fail after the whole time limit: *runs, perhaps in the C library, the loader or the memory allocator*.

    Whoever computes is found outside within a few stops, however many threads there are.
    """
    victim = busy(mode, threads)
    assert victim.ask("answer") == "20"

    row = trigger(padded, attach=True, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)

    assert row.attached
    assert len(stops) <= MOST_STOPS.get(mode, 500)
    for _again in range(20):
        # Of a thread that computes all the time nobody can tell where it is: then it says so.
        assert row.outcome in ("patched", "already_patched", "pending"), row
        if victim.ask("answer") == "5001":
            break
        row = trigger(padded).apply(victim.pid)
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0
