# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fork() while a patch is pending on a thread, and while one is applied: parent and child are both right afterwards."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING

PAIRS = {"make": "make_new", "use": "use_new"}
# Threads that spin on all cores leave the rest of the machine, and so the command, what it needs.
YIELDING = ("nice", "-n", "19")


class Child(NamedTuple):
    """A process that the victim forked, as far as Livepatch wants to know it."""

    slot: int
    pid: int
    process: subprocess.Popen


@pytest.fixture
def patch(variant, target, livepatch):
    return livepatch(target("contract", variant).patch("layout", PAIRS))


@pytest.fixture
def victim(variant, target, start):
    return start(target("contract", variant), "forked/app.c", wrap=YIELDING)


def forked(victim, where):
    return Child(*victim.numbers("fork " + where), victim.process)


def test_forked_while_a_patch_is_pending(victim, patch):
    """Guards what a child inherits: the universe of the one thread that it has, and nothing of the others.

    Forked by a thread outside, it has no pending one although its parent has; forked by the pending thread itself, it
    is pending until it leaves, and its parent by itself. Each can be patched and reverted on its own meanwhile. Seen to
    fail (layouts mixed in the child) with prove_by_stack() always saying OUTSIDE.
    """
    for change, back, before, after in ((patch.apply, patch.revert, 1, 2), (patch.revert, patch.apply, 2, 1)):
        done, undone = (APPLIED, NOT_APPLIED) if after == 2 else (NOT_APPLIED, APPLIED)
        assert victim.ask("park") == "parked"
        change(victim)
        assert patch.check(victim) == PENDING

        outside = forked(victim, "outside")
        assert victim.number(f"ask {outside.slot}") == after
        patch.wait_for_check(outside, done)
        back(outside)
        assert victim.number(f"ask {outside.slot}") == before
        patch.wait_for_check(outside, undone)

        inside, another = forked(victim, "inside"), forked(victim, "inside")
        assert [patch.check(process) for process in (inside, another, victim)] == [PENDING] * 3
        # The one is changed back before it has left, the other leaves first.
        back(inside)
        assert victim.number(f"let {inside.slot}") == before
        assert victim.number(f"ask {inside.slot}") == before
        patch.wait_for_check(inside, undone)
        assert victim.number(f"let {another.slot}") == before
        assert victim.number(f"ask {another.slot}") == after
        patch.wait_for_check(another, done)

        # All that was the children's affair.
        assert patch.check(victim) == PENDING
        assert victim.number("call") == after
        assert victim.number("release") == before
        patch.wait_for_check(victim, done)
        for child in (outside, inside, another):
            assert victim.number(f"end {child.slot}") == 0


def test_forked_while_a_patch_is_applied(victim, patch):
    """Guards a fork at any moment of an apply: the child has the patch or not, says so, and can be patched itself.

    What the parent's worker was doing, nobody does in the child: the fork waits for it, or its owner is told by the
    process ID. Seen to fail (a child for ever busy with another request) with neither.
    """
    victim.send("brood 20")
    for _cycle in range(3):
        patch.apply(victim)
        patch.revert(victim)
    numbers = victim.numbers("hatched")
    brood = [Child(slot, pid, victim.process) for slot, pid in zip(numbers[::2], numbers[1::2])]
    assert len(brood) == 20
    for child in brood:
        has = victim.number(f"ask {child.slot}")
        patch.wait_for_check(child, APPLIED if has == 2 else NOT_APPLIED)
        changes = [(patch.apply, 2), (patch.revert, 1)]
        for change, version in changes if has == 1 else reversed(changes):
            change(child)
            assert victim.number(f"ask {child.slot}") == version
    assert victim.number("call") == 1
    for child in brood:
        assert victim.number(f"end {child.slot}") == 0
