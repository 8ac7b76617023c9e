# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A livepatch for two libraries, of which one is loaded (dlopen) only after it was applied."""

from __future__ import annotations

import pytest
from harness.library import WARNINGS, run
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.paths import TARGETS
from harness.victim import Victim


@pytest.fixture
def pair(target, variant):
    return target("two_libraries", variant)


@pytest.fixture
def both(pair, livepatch):
    return livepatch(pair.both_patch(2))


@pytest.fixture
def victim(pair, variant, tmp_path):
    """A program that has loaded one of the two; it must end well."""
    program = tmp_path / "late"
    run([variant.compilers[0], *WARNINGS, *variant.flags, "-pthread", "-o", program,
         TARGETS / "two_libraries" / "late.c"])
    victim = Victim([program], libraries=[pair.directory], preload=variant.preload)
    assert victim.ask(f"load lower {pair.lower}") == "loaded"
    yield victim
    if not victim.process.stdin.closed:
        victim.finish()


def versions(victim):
    return [victim.number("version lower"), victim.number("version upper")]


def test_apply_again_reaches_the_late_library(pair, both, victim):
    """Guards the truth about a library that came later, and that it is reached.

    Seen to fail (check says applied, apply says already patched, the library stays old) with Resolution.is_covered()
    always True.
    """
    both.apply(victim)
    assert both.check(victim) == APPLIED
    assert victim.ask(f"load upper {pair.library}") == "loaded"
    assert versions(victim) == [2, 1]
    answer = both.ulp.run("check", "-p", victim.pid, both.ulp_file)
    assert answer.status == NOT_APPLIED
    assert f"has loaded {pair.library.name} since the livepatch was applied" in answer.output + answer.errors
    rows = both.ulp.succeed("dispatch", "patch", both.ulp_file, "--dry-run", "--json").json()
    assert [(row["pid"], row["outcome"]) for row in rows] == [(victim.pid, "patched")]
    assert versions(victim) == [2, 1]
    both.apply(victim)
    assert versions(victim) == [2, 2]
    assert both.check(victim) == APPLIED
    assert both.apply(victim).output.count("already") == 1
    both.revert(victim)
    assert versions(victim) == [1, 1]


def test_below_a_later_livepatch_it_is_refused(pair, both, victim, livepatch):
    """Guards the order of livepatches that replace the same function: the older one must not come out on top.

    Seen to fail (lower is 2, not 3) without that look in reapply.require_repeatable().
    """
    later = livepatch(pair.lower_patch(3))
    both.apply(victim)
    later.apply(victim)
    assert victim.ask(f"load upper {pair.library}") == "loaded"
    refused = both.ulp.refuse("trigger", "-p", victim.pid, both.ulp_file, naming=victim.pid)
    assert f"{later.ulp_file.name}; revert that first" in refused.errors
    assert versions(victim) == [3, 1]
    later.revert(victim)
    both.apply(victim)
    later.apply(victim)
    assert versions(victim) == [3, 2]


def test_late_library_that_was_patched_apart(pair, both, victim, livepatch):
    """Guards that what can't be applied anew is not taken back first: the process goes on as it was.

    Seen to fail (lower is 1) without that look in reapply.require_repeatable(), and without the attempt in
    reapply.reapply() to apply it as before.
    """
    apart = livepatch(pair.upper_patch(3))
    both.apply(victim)
    assert victim.ask(f"load upper {pair.library}") == "loaded"
    apart.apply(victim)
    refused = both.ulp.refuse("trigger", "-p", victim.pid, both.ulp_file, naming=victim.pid)
    assert "patched apart from the others" in refused.errors
    assert versions(victim) == [2, 3]
    assert both.check(victim) == NOT_APPLIED
    both.revert(victim)
    apart.revert(victim)
    assert versions(victim) == [1, 1]
