# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two libraries, of which one calls the other, patched by one livepatch or by one each."""

from __future__ import annotations

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED, PENDING

THREADS = 4


@pytest.fixture
def pair(target, variant):
    return target("two_libraries", variant)


def all_of(version):
    return [version, version, 11 * version]


def test_switch_together_in_a_tight_loop(pair, cycles, start, repeated):
    """Guards the one domain of two libraries patched together, and its one number.

    Each thread sees the version change exactly once for each publish, whichever library it calls next, and a call
    of one library from inside the other never mixes.  Seen to fail with stubs that compare with 1 instead of the
    patch's own number (each function then switches when its stub is put in place), and with a search of the stack
    that knows only the called library's text.
    """
    patch = repeated(pair.both_patch(2))
    victim = start(pair)
    assert victim.ask(f"start {THREADS}") == str(THREADS)
    for _cycle in cycles.part(10, least=10):
        patch.apply(victim)
        assert victim.numbers("latest") == all_of(2) * THREADS
        patch.revert(victim)
        assert victim.numbers("latest") == all_of(1) * THREADS
    mixed, most_changes = victim.numbers("stop")
    assert mixed == 0
    assert most_changes == 2 * cycles.count(10, least=10)


@pytest.mark.parametrize("library", ["upper", "lower"])
def test_thread_inside_one_keeps_the_other(library, pair, start, livepatch):
    """Guards that being inside one library of a livepatch is being inside: the thread keeps its number for both.

    Seen to fail with a search of the stack that knows only the called library's text: the other one is new already.
    """
    first, second = livepatch(pair.both_patch(2)), livepatch(pair.both_patch(3))
    victim = start(pair)
    assert victim.numbers(f"park 0 {library}") == all_of(1)
    first.apply(victim)
    assert victim.numbers("versions") == all_of(2)
    assert first.check(victim) == PENDING
    assert victim.numbers(f"park 1 {library}") == all_of(2)
    second.apply(victim)
    assert victim.numbers("versions") == all_of(3)
    assert victim.numbers("release 1") == all_of(2) + all_of(3)
    assert victim.numbers("release 0") == all_of(1) + all_of(3)
    second.wait_for_check(victim, APPLIED)

    assert victim.numbers(f"park 2 {library}") == all_of(3)
    second.revert(victim)
    assert victim.numbers("versions") == all_of(2)
    first.revert(victim)
    assert victim.numbers("versions") == all_of(1)
    assert victim.numbers("release 2") == all_of(3) + all_of(1)
    first.wait_for_check(victim, NOT_APPLIED)


def test_jump_from_one_into_the_other(pair, start, livepatch):
    """Guards that a jump out of one library of a livepatch is one into the other: it leaves no frame.

    Seen to fail (2) with jumps inside each library alone.
    """
    patch = livepatch(pair.both_patch(2))
    victim = start(pair)
    assert victim.number("relay 0") == 0
    patch.apply(victim)
    assert victim.numbers("versions") == all_of(2)
    assert victim.numbers("release 0") == [0, 1, 0, *all_of(2)]
    patch.wait_for_check(victim, APPLIED)


def test_patched_library_calls_another_patched_one(pair, start, livepatch):
    """Guards that libraries patched by a livepatch each are each consistent, and independent.

    A thread inside upper is outside lower: lower's patch reaches it at its next call, while upper stays as it was. Seen
    to fail (lower stays as it was, too) with one domain for all libraries. With prove_by_stack() always saying OUTSIDE
    the thread inside upper has the new one already.
    """
    upper = livepatch(pair.upper_patch(2))
    lower = livepatch(pair.lower_patch(3))
    victim = start(pair)
    assert victim.numbers("park 0 upper") == all_of(1)
    assert victim.numbers("park 1 lower") == all_of(1)
    upper.apply(victim)
    lower.apply(victim)
    assert victim.numbers("versions") == [2, 3, 23]
    assert upper.check(victim) == PENDING
    assert lower.check(victim) == PENDING
    assert victim.numbers("release 0") == [1, 3, 13, 2, 3, 23]
    assert victim.numbers("release 1") == [2, 1, 21, 2, 3, 23]
    upper.wait_for_check(victim, APPLIED)
    lower.wait_for_check(victim, APPLIED)
    upper.revert(victim)
    assert victim.numbers("versions") == [1, 3, 13]
    lower.revert(victim)
    assert victim.numbers("versions") == all_of(1)


def test_apart_first_is_refused_together(pair, start, livepatch, preforked):
    """Guards that a livepatch for both is not applied when the two have a number each: it could not switch at once.

    Seen to fail without ULP_DOMAINS_DIFFER in ulp_targets_verify().
    """
    upper = livepatch(pair.upper_patch(2))
    lower = livepatch(pair.lower_patch(3))
    ulp_file = pair.both_patch(4)
    victim = start(pair)
    upper.apply(victim)
    lower.apply(victim)
    preforked.refuse("trigger", "-p", victim.pid, ulp_file, naming=victim.pid)
    assert victim.numbers("versions") == [2, 3, 23]
    assert livepatch(ulp_file).check(victim) == NOT_APPLIED
    upper.revert(victim)
    lower.revert(victim)
    assert victim.numbers("versions") == all_of(1)


def test_replaced_by_one_for_more_libraries_or_fewer(pair, start, livepatch, preforked):
    """What the new livepatch has no part in is the library's own again; a further library joins the others' number."""
    upper, both = livepatch(pair.upper_patch(2)), livepatch(pair.both_patch(3))
    victim = start(pair)
    upper.apply(victim)
    assert victim.numbers("versions") == [2, 1, 21]
    preforked.succeed("dispatch", "patch", both.ulp_file, victim.pid, "--replace")
    assert victim.numbers("versions") == all_of(3)
    assert (upper.check(victim), both.check(victim)) == (NOT_APPLIED, APPLIED)
    preforked.succeed("dispatch", "patch", upper.ulp_file, victim.pid, "--replace")
    assert victim.numbers("versions") == [2, 1, 21]
    assert (upper.check(victim), both.check(victim)) == (APPLIED, NOT_APPLIED)
    upper.revert(victim)
    assert victim.numbers("versions") == all_of(1)
    # They switch together from now on, whichever comes.
    assert victim.numbers("park 0 lower") == all_of(1)
    both.apply(victim)
    assert both.check(victim) == PENDING
    assert victim.numbers("release 0") == all_of(1) + all_of(3)


def test_apart_first_is_replaced_apart(pair, start, livepatch, preforked):
    """Replacing makes no one domain of two: refused, with nothing changed.  A livepatch for each is the way."""
    victim = start(pair)
    for path in (pair.upper_patch(2), pair.lower_patch(3)):
        livepatch(path).apply(victim)
    answer = preforked.run("dispatch", "--json", "patch", pair.both_patch(4), victim.pid, "--replace")
    (row,) = answer.json()
    assert (answer.status, row["outcome"]) == (1, "failed")
    assert "were first patched apart from each other; apply a livepatch for each of them" in row["reason"]
    assert victim.numbers("versions") == [2, 3, 23]
    for path in (pair.upper_patch(4), pair.lower_patch(4)):
        preforked.succeed("dispatch", "patch", path, victim.pid, "--replace")
    assert victim.numbers("versions") == all_of(4)
