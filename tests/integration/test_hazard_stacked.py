# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Five patches of the same functions, with threads parked in every universe, reverted from everywhere in the stack."""

from __future__ import annotations

import random

import pytest
from harness.blocked import version_patch
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING

NUMBERS = (2, 3, 4, 5, 6)
ORIGINAL = 1


class Stack:
    """The victim, its patches, and what it must have: a model of the stack and of the parked threads."""

    def __init__(self, build, start, livepatch) -> None:
        self.patches = {number: livepatch(version_patch(build, number)) for number in NUMBERS}
        self.victim = start(build)
        self.applied: list[int] = []  # the top last
        self.parked: dict[int, int] = {}  # the version that a thread entered with, by slot
        self.slots = iter(range(64))
        assert self.victim.ask("crowd 3") == "3"

    @property
    def top(self) -> int:
        return self.applied[-1] if self.applied else ORIGINAL

    def park(self, function: str = "hold") -> None:
        slot = next(self.slots)
        assert self.victim.number(f"park {slot} {function}") == self.top
        self.parked[slot] = self.top

    def release(self, slot: int) -> None:
        """It gets what it entered with, by every way, and when it has left what everybody gets."""
        entered = self.parked.pop(slot)
        assert self.victim.numbers(f"release {slot}") == [entered] * 5 + [self.top]

    def apply(self, number: int) -> None:
        self.patches[number].apply(self.victim)
        self.applied.append(number)
        self.everyone_gets_the_top()

    def revert(self, number: int) -> None:
        self.patches[number].revert(self.victim)
        self.applied.remove(number)
        self.everyone_gets_the_top()

    def everyone_gets_the_top(self) -> None:
        assert self.victim.numbers("ask") == [self.top] * 3
        assert self.victim.number("version") == self.top
        assert self.victim.number("fresh") == self.top

    def is_settled(self) -> None:
        """With nobody parked, each patch is on all threads or on none."""
        assert not self.parked
        for number, patch in self.patches.items():
            patch.wait_for_check(self.victim, APPLIED if number in self.applied else NOT_APPLIED)


@pytest.fixture
def stack(variant, target, start, livepatch):
    return Stack(target("blocked", variant), start, livepatch)


def test_five_patches_with_threads_in_each(stack):
    """Guards the chain of a function's versions: a parked thread finds the newest that is not newer than its number.

    Reverts of the top, of two in the middle, of the lowest, of all; applied again in another order. Seen to fail with
    stubs that compare with 1 instead of the patch's own number, and with a revert that leads everybody to the original.
    """
    stack.park()
    for number in NUMBERS:
        stack.apply(number)
        stack.park()
    for number in (6, 4, 3):
        stack.revert(number)
        stack.park()
    # Not on top, but on threads that are parked.
    assert stack.patches[4].check(stack.victim) == PENDING
    stack.revert(2)
    stack.revert(5)
    assert stack.applied == []
    stack.park()
    for number in (4, 2, 6):
        stack.apply(number)
        stack.park()
    for slot in sorted(stack.parked, reverse=True):
        stack.release(slot)
    stack.is_settled()
    for number in (4, 6, 2):
        stack.revert(number)
    stack.is_settled()


@pytest.mark.parametrize("seed", range(2))
def test_any_order(seed, stack):
    """Guards the same for orders that nobody thought of: applies, reverts, parks and releases, drawn by lot.

    Seen to fail with a revert that leads everybody to the original.
    """
    lot = random.Random(seed)
    for _step in range(24):
        missing = [number for number in NUMBERS if number not in stack.applied]
        if missing and (not stack.applied or lot.random() < 0.55):
            stack.apply(lot.choice(missing))
        else:
            stack.revert(lot.choice(stack.applied))
        stack.park()
        if len(stack.parked) > 6:
            stack.release(lot.choice(sorted(stack.parked)))
    for slot in list(stack.parked):
        stack.release(slot)
    stack.is_settled()
