# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries that can prove nothing by themselves: what was reported of their threads must come true."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from harness.blocked import version_patch
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING
from harness.paths import COMMAND

PAIRS = {"version": "patched_version", "hidden_version": "jumping_hidden_version"}


def test_patch_library_that_jumps_to_what_it_replaces(variant, target, start, livepatch):
    """A thread that enters only by a function to which the patch library may jump has the new version at once.

    Guards the settle request: seen to fail without it. What jumped_since adds is held by
    native/tests/test_settle_request.c alone.
    """
    build = target("blocked", variant)
    victim, patch = start(build), livepatch(build.patch("jumping", PAIRS, source="jumping.c"))
    assert victim.number("version") == 1
    for _time in range(3):
        patch.apply(victim)
        assert patch.check(victim) == APPLIED
        assert victim.number("version") == 2
        assert patch.check(victim) == APPLIED
        patch.revert(victim)
        assert patch.check(victim) == NOT_APPLIED
        assert victim.number("version") == 1
        assert patch.check(victim) == NOT_APPLIED


@pytest.fixture
def one_inside(variant, target, start, livepatch):
    """A victim and its applied livepatch; one thread is inside, so what is published next can't be settled."""
    build = target("blocked", variant)
    victim, patch = start(build), livepatch(build.patch("jumping", PAIRS, source="jumping.c"))
    assert victim.ask("crowd 2") == "2"
    patch.apply(victim)
    assert victim.numbers("ask") == [2, 2]
    assert victim.number("version") == 2
    assert victim.number("park 0 hold") == 2
    return victim, patch


def test_outside_but_not_settled_is_pending(one_inside):
    """Of threads that are outside nothing is promised that their next entry may not keep; to do it again settles them.

    Guards Domain.may_keep(): seen to fail (check says "not applied", and the threads get the livepatch's version once
    more) with it always False. Guards that a further revert settles: seen to fail without bringing_along().
    """
    victim, patch = one_inside
    patch.revert(victim)
    assert victim.ask("release 0").split()[0] == "2"
    answer = patch.ulp.run("check", "-p", victim.pid, patch.container)
    assert answer.status == PENDING, str(answer)
    assert "3 of 3 threads" in answer.output + answer.errors
    assert "revert it again" in answer.output + answer.errors
    assert victim.numbers("ask") == [2, 2]
    assert patch.check(victim) == PENDING
    patch.revert(victim)
    assert patch.check(victim) == NOT_APPLIED
    assert victim.numbers("ask") == [1, 1]
    assert victim.number("version") == 1


@pytest.mark.parametrize("entered", [False, True], ids=["idle", "entered"])
def test_settled_when_the_last_one_comes_out(one_inside, entered):
    """Guards that who waits for threads to come out has the others settled then, also such as have kept their number.

    Seen to fail (pending, after the whole time) without bringing_along() in _wait_for_migration(); where the others
    have entered meanwhile, also with those taken for inside whose last entry proved nothing.
    """
    victim, patch = one_inside
    dispatch = subprocess.Popen(
        [sys.executable, COMMAND, "dispatch", "revert", patch.container, str(victim.pid), "--json",
         "--wait-migrated", "60"],
        stdout=subprocess.PIPE, text=True)
    patch.wait_for_check(victim, PENDING)
    if entered:
        assert victim.numbers("ask") == [2, 2]
    assert victim.ask("release 0").split()[0] == "2"
    rows = json.loads(dispatch.communicate(timeout=120)[0])
    assert [(row["outcome"], row["threads_pending"]) for row in rows] == [("reverted", 0)]
    assert victim.numbers("ask") == [1, 1]
    assert victim.number("version") == 1


def test_entry_that_nobody_foresees(variant, target, start, livepatch):
    """Of a thread that is outside nothing is promised while the domain is not settled, whatever is known of functions.

    The library may jump to version(), and so does the program: an entry of the program's proves nothing, which shows
    only when one is made. Seen to fail (check says "applied") with threads counted only where such functions are known.
    """
    build = target("blocked", variant)
    victim, patch = start(build, "wrapped.c"), livepatch(version_patch(build, 2))
    assert victim.ask("worker") == "started"
    assert victim.ask("park") == "1"
    patch.apply(victim)
    assert victim.ask("release") == "1"
    assert patch.check(victim) == PENDING
    patch.apply(victim)
    assert patch.check(victim) == APPLIED
    assert victim.number("ask") == 2
