# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many applies and reverts under load: every result belongs to one universe, and memory does not grow with them."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.library import run
from harness.paths import RUNTIME

from ansible_collections.libpulp.livepatch.plugins.module_utils.abi import STATE

THREADS = 8
# As the only test of its hazard it runs in so many variants of each mode.
EACH_MODE = 3
PAIRS = {"make": "make_new", "use": "use_new"}
# Old versions are given up when all threads have come along at one moment.  On a busy machine threads that get a
# processor every few seconds, in turn, are never seen so by themselves: every so many cycles the test waits for them.
SETTLED = 10
# Bytes: ten stubs, of the last changes before a measurement, during which some thread could not be judged.
UNSETTLED = 960
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
        memory.seek(base + int(symbol.split()[0], 16) + STATE.offsets["stubs_used"])
        return struct.unpack("<Q", memory.read(8))[0]


def test_memory_does_not_grow(variant, cycles, target, start, repeated):
    """Guards the reuse of stubs that no thread can be in any more (ulp_stubs_give_up()), and the worker's frees.

    Over all variants 300 cycles of an apply and a revert each in a normal run, 10,000 in each mode in a soak.  Seen to
    fail with ulp_stubs_give_up() not called.
    """
    build = target("contract", variant)
    patch = repeated(build.patch("layout", PAIRS))
    victim = start(build)
    assert victim.ask(f"start {THREADS}") == str(THREADS)

    def memory():
        """In use when every thread has come along: what starved threads hold back until then depends on the machine."""
        assert victim.numbers("latest") == [1] * THREADS
        patch.apply(victim)
        patch.revert(victim)
        return stubs_used(victim), resident(victim)

    early = cycles.count(EACH_MODE) // 5
    for cycle in cycles.part(EACH_MODE):
        patch.apply(victim)
        patch.revert(victim)
        if cycle % SETTLED == 0:
            assert victim.numbers("latest") == [1] * THREADS
        if cycle == early:
            stubs_early, resident_early = memory()
    stubs_late, resident_late = memory()
    assert victim.numbers("latest") == [1] * THREADS
    old, new, bad = victim.numbers("stop")
    assert bad == 0, f"{bad} of {old + new + bad} calls mixed the layouts"
    assert old and new
    assert 0 < stubs_late <= stubs_early + UNSETTLED
    assert resident_late <= resident_early + ROUNDING
