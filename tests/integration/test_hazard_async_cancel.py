# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pthread_cancel of threads that call the library all the time: at any instruction of stub, slow path and function."""

from __future__ import annotations

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED

TICKERS = 4
# Threads that spin on all cores leave the rest of the machine, and so the command, what it needs.
YIELDING = ("nice", "-n", "19")
HOW = ("outside", "inside", "outside-deferred", "inside-deferred")


@pytest.fixture
def patch(variant, target, livepatch):
    return livepatch(target("async_cancel", variant).patch("version", {"version": "version_new"}))


@pytest.fixture
def victim(variant, target, start):
    return start(target("async_cancel", variant), wrap=YIELDING)


def all_cancelled(answer, rounds, how, variant):
    """All threads were cancelled, and every cleanup handler has run, the program's and the library's.

    In a library that was not post-processed the jump in a function's padding has no frame description (a documented
    limit): a thread that is cancelled exactly there, asynchronously, ends without its cleanup handlers.
    """
    cancelled, own, library = answer
    expected = rounds * TICKERS
    assert cancelled == expected
    if variant.post_processed or how.endswith("-deferred"):
        assert own == expected
        assert library == (expected if how.startswith("inside") else 0)
    else:
        assert own <= expected
        assert library <= (expected if how.startswith("inside") else 0)


@pytest.mark.parametrize("how", HOW)
def test_cancelled_in_the_slow_path(how, request, variant, victim, patch):
    """Guards forced unwinding out of the slow path: threads inside are there in nearly every call after a publish.

    They are cancelled at whatever instruction they are, and afterwards everything works. Seen to fail without the frame
    description of the stubs (handlers that did not run), and of the slow path (a crash).
    """
    for _round in range(max(request.config.getoption("--cycles") // 50, 3)):
        for change, before, after in ((patch.apply, 1, 2), (patch.revert, 2, 1)):
            assert victim.ask("enter " + how) == "entered"
            change(victim)
            assert victim.number("calls") == (before if how.startswith("inside") else after)
            all_cancelled(victim.numbers("cancel"), 1, how, variant)
            assert victim.number("version") == after
    patch.wait_for_check(victim, NOT_APPLIED)
    patch.apply(victim)
    patch.wait_for_check(victim, APPLIED)


@pytest.mark.parametrize("how", HOW)
def test_cancelled_while_applying(how, request, variant, victim, patch):
    """Guards the same while a patch is applied and reverted, on one of the threads perhaps: entry, hooks, publish.

    A thread that is cancelled while it is diverted goes back first, or is unwound from the request entry. Seen to fail
    without the frame description of the stubs.
    """
    cycles = max(request.config.getoption("--cycles") // 40, 4)
    assert victim.ask("churn " + how) == "churning"
    for _cycle in range(cycles):
        patch.apply(victim)
        assert victim.number("rounds")
        assert victim.number("version") == 2
        patch.revert(victim)
        assert victim.number("version") == 1
    rounds, *answer = victim.numbers("settle")
    all_cancelled(answer, rounds, how, variant)
    assert rounds >= cycles
    patch.apply(victim)
    assert victim.number("version") == 2
    patch.wait_for_check(victim, APPLIED)
