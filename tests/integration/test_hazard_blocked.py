# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that are inside the library when a patch comes keep what they entered with; all others get new code."""

from __future__ import annotations

import pytest
from harness.blocked import version_patch
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING


def test_blocked_thread_keeps_old_functions(variant, target, start, livepatch):
    """Guards the universe of a thread that has a library frame on its stack: without it, a parked thread gets 2.

    Seen to fail so with prove_by_stack() always saying OUTSIDE.
    """
    build = target("blocked", variant)
    patch = livepatch(version_patch(build, 2))
    victim = start(build)
    assert victim.number("version") == 1
    assert victim.ask("crowd 6") == "6"
    assert victim.number("park 0 hold") == 1
    assert victim.number("park 1 hold") == 1

    patch.apply(victim)

    # All others, at once: no thread of them has to do anything first.
    assert victim.numbers("ask") == [2] * 6
    assert victim.number("version") == 2
    assert victim.number("fresh") == 2
    # Parked in the new universe.
    assert victim.number("park 2 hold") == 2
    # Before, returned, by name, direct, by pointer; and after it left.
    assert victim.numbers("release 0") == [1, 1, 1, 1, 1, 2]

    patch.revert(victim)

    assert victim.numbers("ask") == [1] * 6
    assert victim.number("version") == 1
    # One parked since before the patch, one since while it was applied.
    assert victim.numbers("release 1") == [1, 1, 1, 1, 1, 1]
    assert victim.numbers("release 2") == [2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize("function", ["relay", "relay_hidden"])
def test_tail_call_from_a_blocked_function_keeps_old(function, variant, target, start, livepatch):
    """Guards the proof at an entry that a jump may have reached: the caller on the stack is then the application.

    Seen to fail with prove_by_call() always saying OUTSIDE.
    """
    build = target("blocked", variant)
    patch = livepatch(version_patch(build, 2))
    victim = start(build)
    assert victim.number("park 0 " + function) == 1

    patch.apply(victim)

    assert victim.number("version") == 2
    entered, returned, *_others, following = victim.numbers("release 0")
    assert (entered, returned, following) == (1, 1, 2)
    assert victim.number("park 1 " + function) == 2

    patch.revert(victim)

    assert victim.number("version") == 1
    entered, returned, *_others, following = victim.numbers("release 1")
    assert (entered, returned, following) == (2, 2, 1)


def test_stacked_patches(variant, target, start, livepatch):
    """Guards the chain of a function's versions: each parked thread finds the newest not newer than its universe.

    Reverting the top gives the one below; reverting a middle one changes nothing that is visible; applying one again
    puts it on top. Seen to fail with a revert that leads everybody to the original.
    """
    build = target("blocked", variant)
    patches = {number: livepatch(version_patch(build, number)) for number in (2, 3, 4)}
    victim = start(build)
    assert victim.ask("crowd 3") == "3"

    def everyone_gets(number):
        assert victim.numbers("ask") == [number] * 3
        assert victim.number("version") == number
        assert victim.number("fresh") == number

    everyone_gets(1)
    for number in (2, 3, 4):
        assert victim.number(f"park {number - 1} hold") == number - 1
        patches[number].apply(victim)
        everyone_gets(number)
    assert victim.number("park 4 hold") == 4

    patches[3].revert(victim)
    everyone_gets(4)
    patches[4].revert(victim)
    everyone_gets(2)
    # Reverted, but not on the threads that are parked in it.
    assert [patches[number].check(victim) for number in (3, 4)] == [PENDING, PENDING]
    patches[3].apply(victim)
    everyone_gets(3)

    # Each still in the universe that it entered in, whatever was reverted since.
    for number in (1, 2, 3, 4):
        assert victim.numbers(f"release {number}") == [number] * 5 + [3]

    patches[2].revert(victim)
    everyone_gets(3)
    patches[3].revert(victim)
    everyone_gets(1)


def test_check_tells_the_truth_about_threads(variant, target, start, livepatch):
    """Guards `ulp check`: pending while a thread is parked inside, applied when it has left, without its help.

    Seen to fail with every stack that is looked at taken for one that leads outside.
    """
    build = target("blocked", variant)
    patch = livepatch(version_patch(build, 2))
    victim = start(build)
    assert patch.check(victim) == NOT_APPLIED
    assert victim.ask("crowd 3") == "3"
    assert victim.number("park 0 hold") == 1
    assert patch.check(victim) == NOT_APPLIED

    patch.apply(victim)

    assert victim.numbers("ask") == [2] * 3
    assert patch.check(victim) == PENDING
    assert victim.number("version") == 2
    assert patch.check(victim) == PENDING
    assert victim.numbers("release 0") == [1, 1, 1, 1, 1, 2]
    patch.wait_for_check(victim, APPLIED)

    # Parked in the new universe: applied on every thread, so not pending.
    assert victim.number("park 1 hold") == 2
    patch.wait_for_check(victim, APPLIED)
    patch.revert(victim)
    assert patch.check(victim) == PENDING
    assert victim.numbers("release 1") == [2, 2, 2, 2, 2, 1]
    patch.wait_for_check(victim, NOT_APPLIED)


def test_threads_that_never_used_the_library_are_not_pending(variant, target, start, livepatch):
    """Guards the judgement by stack of threads without a record: idle ones, outside, do not hold up `ulp check`.

    Seen to fail with every stack that is looked at taken for one that leads inside.
    """
    build = target("blocked", variant)
    patch = livepatch(version_patch(build, 2))
    victim = start(build)
    assert victim.ask("crowd 8") == "8"
    patch.apply(victim)
    patch.wait_for_check(victim, APPLIED)
    patch.revert(victim)
    patch.wait_for_check(victim, NOT_APPLIED)
    assert victim.numbers("ask") == [1] * 8
