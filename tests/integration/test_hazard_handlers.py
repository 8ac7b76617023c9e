# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signal handlers: those that enter the library while the loader is at work, and those that a program lives in."""

from __future__ import annotations

import re

import pytest
from harness.livepatch import APPLIED

SOURCE = "handlers/app.c"
POKES = 40


@pytest.fixture
def prepared(variant, target, start, livepatch):
    build = target("coroutine", variant)
    return start(build, SOURCE), livepatch(build.patch("version", {"version": "version_new"}))


def test_handler_enters_while_the_loader_is_at_work(prepared):
    """The row says that each thread takes the livepatch when it next enters: so it does, wherever a signal comes.

    Seen to fail (both versions after an apply) with every frame of the loader taken for one inside the library.
    """
    victim, patch = prepared
    assert victim.ask("loop") == "looping"
    assert victim.ask(f"poke {POKES}") == "1"
    for _cycle in range(2):
        patch.apply(victim)
        assert victim.ask(f"poke {POKES}") == "2"
        patch.revert(victim)
        assert victim.ask(f"poke {POKES}") == "1"
    assert victim.number("stop") > 0


def test_program_that_lives_in_a_handler(prepared):
    """As helpers of PostgreSQL do: forked in a handler that came in when sigprocmask() let its signal through.

    Seen to fail ("it is in the C library", every time) without brief_system_calls in blocked_calls.c.
    """
    victim, patch = prepared
    assert victim.ask("live mask") == "ready"
    patch.apply(victim)
    assert victim.number("version") == 2
    assert patch.check(victim) == APPLIED
    patch.revert(victim)
    assert victim.number("version") == 1


def test_program_that_lives_in_a_handler_with_a_lock_held(prepared, preforked):
    """The handler came in while fflush() held its stream's lock: never a safe point, which is told after a few stops.

    Seen to fail (after 3001 attempts) without Refusals.are_known_from_outside().
    """
    victim, patch = prepared
    patch.attach(victim)
    assert victim.ask("live stdio") == "ready"
    answer = preforked.run("trigger", "-p", victim.pid, patch.ulp_file)
    assert answer.status == 1
    attempts = int(re.search(r"it is in the C library\), after (\d+) attempts", answer.errors).group(1))
    assert attempts <= 10
    assert victim.number("version") == 1
