# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries that can prove nothing by themselves: what was reported of their threads must come true."""

from __future__ import annotations

from harness.livepatch import APPLIED, NOT_APPLIED

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
