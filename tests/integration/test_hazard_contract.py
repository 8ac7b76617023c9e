# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that share a data layout never mix: every call from outside belongs to one universe."""

from __future__ import annotations

import os

from harness.polling import wait_until

THREADS = 8
PAIRS = {"make": "make_new", "use": "use_new"}


def test_layouts_never_mix(variant, cycles, target, start, repeated):
    """Guards the universes altogether: with detours alone, some call makes the old layout and uses the new.

    Threads call the library in a tight loop during all cycles.  After each publish every thread's next call is of the
    new universe already. Seen to fail with stubs that compare with 1 instead of the patch's own number: each function
    switches when its stub is put in place.
    """
    build = target("contract", variant)
    patch = repeated(build.patch("layout", PAIRS))
    victim = start(build)
    assert victim.number("call") == 1
    assert victim.ask(f"start {THREADS}") == str(THREADS)
    for _cycle in cycles.part(10):
        patch.apply(victim)
        assert victim.numbers("latest") == [2] * THREADS
        patch.revert(victim)
        assert victim.numbers("latest") == [1] * THREADS
    old, new, bad = victim.numbers("stop")
    assert bad == 0, f"{bad} of {old + new + bad} calls mixed the layouts"
    assert old and new
    assert victim.number("call") == 1


def test_signal_handler_calls_the_library(variant, cycles, target, start, repeated):
    """Guards entry stub and slow path against a handler that enters the library wherever it interrupts.

    Inside the library, the handler's call belongs to the interrupted call's universe; and an interrupted call finishes
    in its own. Seen to fail with prove_by_stack() always saying OUTSIDE.
    """
    build = target("contract", variant)
    patch = repeated(build.patch("layout", PAIRS))
    victim = start(build, "signals.c")
    assert victim.ask("storm 150") == "storm"
    for _cycle in cycles.part(25, least=5):
        patch.apply(victim)
        assert victim.numbers("latest") == [2, 2]
        patch.revert(victim)
        assert victim.numbers("latest") == [1, 1]
    old, new, bad, handled = victim.numbers("stop")
    assert bad == 0, f"{bad} of {old + new + bad} calls mixed the layouts"
    assert old and new and handled > 100
    assert victim.number("call") == 1


def test_nothing_is_left_behind(variant, target, start, livepatch):
    """Guards the worker's clean-up: after many cycles there are no more threads and descriptors than after one.

    Seen to fail with /proc/self/mem left open by ulp_text_close().
    """
    build = target("contract", variant)
    patch = livepatch(build.patch("layout", PAIRS))
    victim = start(build)

    def resources():
        return len(victim.threads()), len(os.listdir(f"/proc/{victim.pid}/fd"))

    untouched = resources()
    patch.apply(victim)
    patch.revert(victim)
    wait_until(lambda: resources() == untouched, "the worker has ended")
    mapped = victim.mapped().count("\n")
    for _cycle in range(5):
        patch.apply(victim)
        patch.revert(victim)
    wait_until(lambda: resources() == untouched, "the worker has ended")
    assert abs(victim.mapped().count("\n") - mapped) <= 2
    assert victim.number("call") == 1
