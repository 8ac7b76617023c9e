# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target library that comes by dlopen and goes by dlclose: before, after and during an apply."""

from __future__ import annotations

import pytest
from harness.library import WARNINGS, run
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.paths import RUNTIME, TARGETS
from harness.victim import Victim

PAIRS = {"make": "make_new", "use": "use_new"}


@pytest.fixture
def build(variant, target):
    return target("contract", variant)


@pytest.fixture
def patch(build, livepatch):
    return livepatch(build.patch("layout", PAIRS))


@pytest.fixture
def victim(variant, tmp_path):
    """A program that is not linked against the library; it must end well."""
    program = tmp_path / "loading"
    run([variant.compilers[0], *WARNINGS, *variant.flags, "-pthread", "-o", program, TARGETS / "loading" / "app.c"])
    victim = Victim([program], preload=variant.preload)
    yield victim
    if not victim.process.stdin.closed:
        victim.finish()


def refused(patch, victim):
    """Trigger must say in one sentence that the library is not there, and change nothing."""
    patch.ulp.refuse("trigger", "-p", victim.pid, patch.ulp_file, "--runtime", RUNTIME, naming=victim.pid)


def test_loaded_before(build, patch, victim):
    """Guards that a library loaded by dlopen is found by its build ID like any other.

    Seen to fail with a resolve() for which no build ID is the one looked for.
    """
    victim.ask(f"load {build.library}")
    assert victim.number("version") == 1
    patch.apply(victim)
    assert victim.number("version") == 2
    patch.wait_for_check(victim, APPLIED)
    patch.revert(victim)
    assert victim.number("version") == 1


def test_loaded_after(build, patch, victim):
    """Guards that nothing is claimed for a library which is not loaded yet, and that a later apply works.

    Seen to fail with the outcome already_patched for a process that has not loaded the library.
    """
    refused(patch, victim)
    assert patch.check(victim) == NOT_APPLIED
    victim.ask(f"load {build.library}")
    assert patch.check(victim) == NOT_APPLIED
    assert victim.number("version") == 1
    patch.apply(victim)
    assert victim.number("version") == 2


def test_unloaded_and_loaded_again(build, patch, victim):
    """Guards the state block against a library that goes: before it was patched it goes, afterwards it stays.

    Without the reference that the runtime takes (ulp_loader_hold), dlclose unmaps text that the state block calls
    patched, and the library comes back unpatched, perhaps at the same address.  Seen to fail with that reference given
    back at once.
    """
    victim.ask(f"load {build.library}")
    assert victim.number("unload") == 0
    refused(patch, victim)
    base = victim.ask(f"load {build.library}")

    patch.apply(victim)
    assert victim.number("version") == 2
    for _round in range(3):
        assert victim.number("unload") == 1
        assert patch.check(victim) == APPLIED
        assert build.library.name in victim.mapped()
        assert victim.ask(f"load {build.library}") == base
        assert victim.number("version") == 2

    assert victim.number("unload") == 1
    patch.revert(victim)
    patch.wait_for_check(victim, NOT_APPLIED)
    # Held for as long as the process lives, patched or not: a thread may still be in it.
    assert victim.ask(f"load {build.library}") == base
    assert victim.number("version") == 1
    patch.apply(victim)
    assert victim.number("version") == 2


def test_loaded_and_unloaded_during(build, patch, victim):
    """Guards the look at the library before anything is written: it may have gone since the core looked.

    A thread loads and unloads it all the time.  An apply is carried out, or refused because the library is not there;
    once it is carried out, the library stays and has it. Seen to fail with the reference to the library given back at
    once.
    """
    assert victim.ask(f"churn {build.library}") == "churning"
    statuses = []
    while 0 not in statuses:
        answer = patch.attempt(victim)
        assert answer.status in (0, 1), str(answer)
        assert victim.process.poll() is None, str(answer)
        statuses.append(answer.status)
        assert len(statuses) < 200, str(answer)
    for _cycle in range(10):
        patch.wait_for_check(victim, APPLIED)
        assert build.library.name in victim.mapped()
        patch.revert(victim)
        patch.apply(victim)
    assert victim.ask("round") == "round"
    rounds, old, new = victim.numbers("settle")
    assert rounds == old + new
    assert old and new
    victim.ask(f"load {build.library}")
    assert victim.number("version") == 2
