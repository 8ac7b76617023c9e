# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of which no thread ever waits are given the runtime, too: see busy.c."""

from __future__ import annotations

import pytest

# Generous: the threads share the processors with everything else.
SECONDS = 60


@pytest.mark.parametrize(
    ("mode", "threads"), [("compute", 1), ("compute", 4), ("branch", 1), ("descend", 1), ("allocate", 1),
                          ("allocate", 4), ("python", 1)],
)
def test_no_thread_waits(mode, threads, busy, padded, runtime, trigger):
    """Seen to fail after the whole time limit: *runs, perhaps in the C library, the loader or the memory allocator*."""
    victim = busy(mode, threads)
    assert victim.ask("answer") == "20"

    row = trigger(padded, attach=True, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)

    assert row.attached
    for _again in range(20):
        # Of a thread that computes all the time nobody can tell where it is: then it says so.
        assert row.outcome in ("patched", "already_patched", "pending"), row
        if victim.ask("answer") == "5001":
            break
        row = trigger(padded).apply(victim.pid)
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0
