# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls back into the application from the library: nested entries, and jumps over the library's frames."""

from __future__ import annotations

from harness.livepatch import APPLIED, PENDING


def prepare(variant, target, start, livepatch):
    build = target("callback", variant)
    return start(build), livepatch(build.patch("version", {"version": "version_new"}))


def everyone_gets(victim, version):
    assert victim.number("version") == version
    assert victim.number("nested") == 111 * version
    assert victim.numbers("jump") == [version, version]
    assert victim.number("leave") == version


def test_nested_entries_keep_the_outer_universe(variant, target, start, livepatch):
    """Guards the search for *any* library frame at an entry, not only the nearest: app, library, app, library.

    Seen to fail with a search that ends at the first frame.
    """
    victim, patch = prepare(variant, target, start, livepatch)
    everyone_gets(victim, 1)
    assert victim.ask("park return") == "parked"
    patch.apply(victim)
    everyone_gets(victim, 2)
    assert victim.numbers("release") == [111, 111, 2]

    assert victim.ask("park return") == "parked"
    patch.revert(victim)
    everyone_gets(victim, 1)
    assert victim.numbers("release") == [222, 222, 1]


def test_stack_of_several_mappings(variant, target, start, livepatch):
    """Guards that a stack is searched to its end, of which a part may be a mapping of its own (mlock(2), madvise(2)).

    Seen to fail when the end of the mapping that the thread is in counted as the stack's: check says "applied", and
    then the thread gets both versions in one call (122).
    """
    victim, patch = prepare(variant, target, start, livepatch)
    assert victim.ask("park locked") == "parked"
    patch.apply(victim)
    assert patch.check(victim) == PENDING
    everyone_gets(victim, 2)
    assert victim.numbers("release") == [111, 111, 2]
    assert patch.check(victim) == APPLIED


def test_longjmp_over_the_library(variant, target, start, livepatch):
    """Guards that leaving by longjmp counts as leaving: bookkeeping undone on return would keep the thread back.

    Seen to fail with a thread that has once kept its number taken for inside from then on.
    """
    victim, patch = prepare(variant, target, start, livepatch)
    assert victim.ask("park jump") == "parked"
    patch.apply(victim)
    assert victim.numbers("release") == [111, 0, 2]
    everyone_gets(victim, 2)

    assert victim.ask("park jump") == "parked"
    patch.revert(victim)
    assert victim.numbers("release") == [222, 0, 1]
    everyone_gets(victim, 1)
