# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recursion that never leaves the library, across a publish; and threads that leave it by ending inside."""

from __future__ import annotations

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING

PAIRS = {"version": "version_new", "descend": "descend_new"}
LEVELS = 8
# Threads that spin on all cores leave the rest of the machine, and so the command, what it needs.
YIELDING = ("nice", "-n", "19")
# How a thread ends: whether the program's cleanup handler runs, and the destructor of its thread-specific data.
ENDS = {"exit": (True, True), "callback": (True, True), "system_call": (False, False), "none": (False, True)}


@pytest.fixture
def patch(variant, target, livepatch):
    build = target("leaving", variant)
    return livepatch(build.patch("leaving", PAIRS, link=[build.library]))


@pytest.mark.parametrize("level", [0, 3, LEVELS - 1])
def test_recursion_across_the_publish(level, variant, target, start, patch):
    """Guards every level of a recursion that began before: those above the publish, those below, and the way back.

    Seen to fail without the proof by the stack (every entry taken for one from outside).
    """
    victim = start(target("leaving", variant))
    for change, before, after in ((patch.apply, 1, 2), (patch.revert, 2, 1)):
        assert victim.ask(f"recurse {level}") == "recursing"
        change(victim)
        assert victim.number("version") == after
        assert patch.check(victim) == PENDING
        assert victim.numbers("ascend") == [LEVELS * before] * 3 + [after]
        patch.wait_for_check(victim, APPLIED if after == 2 else NOT_APPLIED)


def test_recursion_in_a_loop(variant, request, target, start, patch):
    """Guards the same at any moment: a thread recurses all the time, and no recursion is half old, half new.

    Seen to fail with the stack left out of the proof, as above.
    """
    victim = start(target("leaving", variant), wrap=YIELDING)
    assert victim.ask("start") == "started"
    for _cycle in range(max(request.config.getoption("--cycles") // 8, 10)):
        for change in (patch.apply, patch.revert):
            change(victim)
            assert victim.number("rounds")
    old, new, mixed = victim.numbers("stop")
    assert mixed == 0, f"{mixed} of {old + new + mixed} recursions mixed old and new"
    assert old and new


@pytest.mark.parametrize("how", ENDS)
def test_thread_that_ends_inside(how, variant, target, start, patch):
    """Guards that a thread which ends inside has left: it holds nothing up, and what it still runs gets the new code.

    Its cleanup handlers and destructors run when the library's frames are gone from its stack. Bookkeeping undone on
    return would have them in the old universe, and whoever gets the thread's stack and ID next. What it sees before its
    end fails without the proof by the stack. What follows was seen to fail (exit, callback) with a thread that has once
    kept its number taken for inside from then on.
    """
    cleanup, destructor = ENDS[how]
    victim = start(target("leaving", variant))
    for change, before, after in ((patch.apply, 1, 2), (patch.revert, 2, 1)):
        for thread in range(4):
            assert victim.ask(f"park {thread} {how}") == "parked"
        change(victim)
        assert victim.number("version") == after
        if how != "none":
            assert patch.check(victim) == PENDING
        for thread in range(4):
            within = after if how == "none" else before
            assert victim.numbers(f"end {thread}") == [within, after * cleanup, after * destructor]
            assert victim.number("fresh") == after
        patch.wait_for_check(victim, APPLIED if after == 2 else NOT_APPLIED)
