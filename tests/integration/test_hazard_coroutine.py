# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Coroutines: a thread that changes stacks may have left some of its work inside the library on another one.

That is a limit (docs/consistency.md).  What these tests hold is that it is told.
"""

from __future__ import annotations

import json

import pytest
from harness.livepatch import APPLIED, PENDING


def look(ulp, victim, patch):
    """The exit status of ulp check, and the row that it prints."""
    answer = ulp.run("check", "--json", "-p", victim.pid, patch.ulp_file)
    return answer.status, json.loads(answer.output)


@pytest.fixture
def prepared(variant, target, start, livepatch):
    build = target("coroutine", variant)
    return start(build), livepatch(build.patch("version", {"version": "version_new"}))


def test_entries_of_coroutines_are_counted_and_told(prepared, preforked, variant):
    """Guards ulp_stack_of_coroutine(): seen to fail with it always false, and (first look) with it always true."""
    victim, patch = prepared
    patch.apply(victim)
    assert victim.number("version") == 2
    status, row = look(preforked, victim, patch)
    assert (status, row["outcome"], row["coroutines"], row["reason"]) == (APPLIED, "already_patched", 0, "")

    patch.revert(victim)
    assert victim.number("enter own") == 1
    patch.apply(victim)
    assert victim.number("enter own") == 2
    status, row = look(preforked, victim, patch)
    # While nothing is replaced, nobody sees who enters a library without padding.
    assert (status, row["outcome"], row["coroutines"]) == (APPLIED, "already_patched", 1 if variant.stock else 2)
    assert f"process {victim.pid} " in row["reason"]
    assert "coroutines" in row["reason"]


def test_stack_without_an_end_proves_nothing(prepared, preforked):
    """A coroutine of the C library can't be seen to be outside: its thread stays where it is, and counts as pending."""
    victim, patch = prepared
    assert victim.number("version") == 1
    patch.apply(victim)
    assert victim.number("enter context") == 1
    status, row = look(preforked, victim, patch)
    assert (status, row["outcome"], row["threads_pending"], row["coroutines"]) == (PENDING, "pending", 1, 1)
    assert victim.number("version") == 2
    assert patch.check(victim) == APPLIED


@pytest.mark.parametrize("kind", ["context", "own"])
def test_coroutine_suspended_inside_is_the_first_to_go_on(prepared, kind):
    """Its own stack shows it inside, so it keeps the old functions, and its thread with it, until it has left.

    Seen to fail with prove_by_stack() always saying OUTSIDE.
    """
    victim, patch = prepared
    assert victim.ask(f"suspend {kind}") == "suspended"
    patch.apply(victim)
    assert victim.number("resume") == 11
    assert victim.number("version") == 2


@pytest.mark.parametrize("kind", ["context", "own"])
def test_coroutine_suspended_inside_is_told(prepared, preforked, kind):
    """It was there before the livepatch, and no thread has it on its stack: the process counts as pending.

    Seen to fail (patched, without a word) without count_before().
    """
    victim, patch = prepared
    assert victim.ask(f"suspend {kind}") == "suspended"
    assert "a stack with frames of the library, and no thread on it," in patch.apply(victim).output
    status, row = look(preforked, victim, patch)
    assert (status, row["outcome"], row["threads_pending"], row["coroutines"]) == (PENDING, "pending", 1, 1)
    assert "goes on with old functions" in row["reason"]
    assert victim.number("resume") == 11
    assert victim.ask("overwrite") == "overwritten"
    assert victim.number("version") == 2
    assert patch.check(victim) == APPLIED


@pytest.mark.parametrize("kind", ["context", "own"])
def test_coroutine_that_came_in_later_is_none_of_them(prepared, kind):
    """One that is suspended in the new version is where it belongs."""
    victim, patch = prepared
    patch.apply(victim)
    assert victim.number("version") == 2
    assert victim.ask(f"suspend {kind}") == "suspended"
    assert patch.check(victim) == APPLIED
    assert victim.number("resume") == 22
