# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function of a library ends with a call that never returns: its only trace is the address of the next padding."""

from __future__ import annotations

import re

from harness.library import Hazard, run
from harness.livepatch import APPLIED, PENDING


def symbols(library):
    """{name: (value, size)} of .dynsym."""
    found = {}
    for line in run(["readelf", "-W", "--dyn-syms", library]).splitlines():
        match = re.match(r" *\d+: ([0-9a-f]+) +(\d+) FUNC .* (\S+)$", line)
        if match:
            found[match.group(3)] = int(match.group(1), 16), int(match.group(2))
    return found


def filled(tmp_path, variant, ulp):
    """The library in which the call ends where the next padding begins: that is aligned to 16 bytes."""
    first = Hazard("noreturn", tmp_path / "first", flags=("-DFILL=0",)).build(variant, ulp)
    start, size = symbols(first.library)["run"]
    fill = -(start + size) % 16
    return Hazard("noreturn", tmp_path / "filled", flags=(f"-DFILL={fill}",)).build(variant, ulp)


def test_thread_that_never_returns_is_inside(variant, tmp_path, preforked, start, livepatch):
    """Guards the reading of a return address that is a trampoline's as well, by the core and by the runtime.

    Seen to fail in a post-processed library with every trampoline taken for a mere pointer: in the core (check says
    applied).
    """
    build = filled(tmp_path, variant, preforked)
    found = symbols(build.library)
    padding = found["version"][0] - (0 if variant.post_processed or variant.stock else 14)
    assert sum(found["run"]) == padding
    first = livepatch(build.patch("first", {"version": "version_new"}, flags=["-DVERSION=2"]))
    second = livepatch(build.patch("second", {"version": "version_new"}, flags=["-DVERSION=3"]))
    victim = start(build)
    assert victim.ask("park") == "parked"
    first.apply(victim)
    assert victim.number("version") == 2
    assert first.check(victim) == PENDING
    second.apply(victim)
    assert second.check(victim) == PENDING
    assert victim.number("release") == 1
    assert victim.number("version") == 3
    second.wait_for_check(victim, APPLIED)
