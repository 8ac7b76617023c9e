# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many applies and reverts under load: every result belongs to one universe, and memory does not grow with them."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.library import run
from harness.paths import RUNTIME

THREADS = 8
# Threads that spin on all cores leave the rest of the machine, and so the command, what it needs.
YIELDING = ("nice", "-n", "19")
PAIRS = {"make": "make_new", "use": "use_new"}
# offsetof(struct ulp_state, stubs_used), native/include/ulp/abi.h
STUBS_USED = 88
ROUNDING = 1024  # KiB: stacks and arenas that are touched late


def resident(victim):
    """KiB."""
    status = Path(f"/proc/{victim.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def stubs_used(victim):
    """Bytes, by the state block."""
    (symbol,) = (line for line in run(["nm", "-D", RUNTIME]).splitlines() if line.split()[-1].startswith("ulp_state"))
    base = next(int(line.partition("-")[0], 16) for line in victim.mapped().splitlines() if RUNTIME.name in line)
    with open(f"/proc/{victim.pid}/mem", "rb", buffering=0) as memory:
        memory.seek(base + int(symbol.split()[0], 16) + STUBS_USED)
        return struct.unpack("<Q", memory.read(8))[0]


def test_memory_does_not_grow(variant, request, target, start, livepatch):
    """Guards the reuse of stubs that no thread can be in any more (ulp_stubs_give_up()), and the worker's frees.

    Together 500 applies and reverts in a normal run.  Seen to fail with ulp_stubs_give_up() not called.
    """
    build = target("contract", variant)
    patch = livepatch(build.patch("layout", PAIRS))
    victim = start(build, wrap=YIELDING)
    assert victim.ask(f"start {THREADS}") == str(THREADS)
    cycles = max(request.config.getoption("--cycles") * 5 // 8, 20)
    measured = []
    for cycle in range(cycles):
        patch.apply(victim)
        patch.revert(victim)
        if cycle in (cycles // 5, cycles - 1):
            measured.append((stubs_used(victim), resident(victim)))
    assert victim.numbers("latest") == [1] * THREADS
    old, new, bad = victim.numbers("stop")
    assert bad == 0, f"{bad} of {old + new + bad} calls mixed the layouts"
    assert old and new
    (stubs_early, resident_early), (stubs_late, resident_late) = measured
    assert 0 < stubs_late <= 2 * stubs_early
    assert resident_late <= resident_early + ROUNDING
