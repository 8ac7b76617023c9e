# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pthread_cancel of threads that are blocked inside the library."""

from __future__ import annotations

from harness.livepatch import APPLIED, NOT_APPLIED

PAIRS = {
    "version": "version_new",
    "cleanup_amount": "cleanup_amount_new",
    "wait_below_destructor": "wait_below_destructor_new",
}
# Cancelled, the library's cleanup handler, its destructors, the application's cleanup handler.
OLD = [1, 1, 1, 1]
NEW = [1, 100, 10, 1]


def test_cancelled_inside_the_library(variant, target, start, livepatch):
    """Guards forced unwinding from a parked thread: with a changed return address the process aborts.

    The cleanup handler that runs during the unwinding is the library's, so what it calls is of the universe of the
    thread that is being cancelled. Seen to fail (the new handler's amounts in an old call) with prove_by_stack() always
    saying OUTSIDE, and (SIGSEGV) with a slow path that puts a return address of its own in place of the caller's.
    """
    build = target("cancel", variant)
    patch = livepatch(build.patch("cancel", PAIRS, source="patch.cc", link=[build.library]))
    victim = start(build)
    assert victim.ask("park 0") == "parked"
    assert victim.numbers("cancel 0") == OLD

    for thread in (0, 1, 2):
        assert victim.ask(f"park {thread}") == "parked"
    patch.apply(victim)
    assert victim.number("version") == 2
    # In old code since before the patch; then in new code.
    assert victim.numbers("cancel 0") == OLD
    assert victim.ask("park 3") == "parked"
    assert victim.ask("park 4") == "parked"
    assert victim.numbers("cancel 3") == NEW
    assert victim.number("release 1") == 1
    # A cancelled thread is gone: it holds nothing up.
    assert victim.numbers("cancel 2") == OLD
    patch.wait_for_check(victim, APPLIED)

    patch.revert(victim)
    assert victim.number("version") == 1
    assert victim.numbers("cancel 4") == NEW
    patch.wait_for_check(victim, NOT_APPLIED)
    assert victim.ask("park 5") == "parked"
    assert victim.numbers("cancel 5") == OLD
