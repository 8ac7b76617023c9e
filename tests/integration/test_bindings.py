# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New code that uses the variables and functions of its target: static, exported, copied, interposed, thread-local."""

from __future__ import annotations

import pytest
from harness.bindings import REFERENCES
from harness.library import Hazard
from harness.livepatch import APPLIED, NOT_APPLIED


@pytest.fixture(scope="session")
def bindings(tmp_path_factory, preforked):
    hazard = Hazard("bindings", tmp_path_factory.mktemp("bindings"))
    return lambda variant: hazard.build(variant, preforked)


def sums(interposed, calls):
    """What the sum is after so many calls of the new function by one thread, which did them all."""
    return 1 + 20 + 300 + 4000 + interposed + 700000 + 4 * calls


@pytest.mark.parametrize("where", ["linked", "local"])
def test_new_code_shares_what_the_old_code_has(mode_variant, bindings, start, livepatch, where):
    """Guards that every process has the values of the library that is patched there.

    Seen to fail with the target's own definition in place of what its words lead to: ``copied`` was the dead copy, and
    the program's function was not called.
    """
    build = bindings(mode_variant)
    patch = livepatch(build.patch("bindings", {"sum": "new_sum", **REFERENCES}))
    program = ("app.c",) if where == "linked" else ("local.c", ("-Wl,--as-needed",))
    interposed = 60000 if where == "linked" else 50000
    victim = start(build, *program)
    assert victim.number("sum") == sums(interposed, 0)
    patch.apply(victim)
    assert victim.number("sum") == -sums(interposed, 1)
    # Another thread has variables of its own: those of two calls less.
    assert victim.number("thread") == -(sums(interposed, 2) - 2)
    assert victim.number("copied") == 3
    assert patch.check(victim) == APPLIED
    patch.revert(victim)
    assert victim.number("sum") == sums(interposed, 2) - 2
    assert patch.check(victim) == NOT_APPLIED
    patch.apply(victim)
    assert victim.number("sum") == -(sums(interposed, 3) - 2)
