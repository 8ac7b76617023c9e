# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A package is upgraded in the middle of a run, and rolled back: each process is judged by what it has mapped."""

from __future__ import annotations

import os
import shutil

import pytest
from conftest import HERE, PADDING, compiled


@pytest.mark.parametrize("order", ["upgraded", "rolled back"])
def test_upgraded_in_the_middle_of_a_run(order, padded, tmp_path, start, trigger):
    """What was read of the file before says nothing of the one that has its path now, whichever is the older."""
    library = tmp_path / "libvictim.so"
    old, new = tmp_path / "old.so", tmp_path / "new.so"
    shutil.copy(padded.library, old)
    compiled("-fPIC", "-shared", *PADDING, "-Wl,--build-id,-soname,libvictim.so", "-DLATER", HERE / "library.c",
             "-Wl,--defsym=later=1", "-o", new)
    layout = padded._replace(directory=tmp_path, library=library)
    # One run: what it has read of files it remembers.
    run = trigger(padded)

    def install(build):
        shutil.copy(build, tmp_path / "unpacked")
        os.replace(tmp_path / "unpacked", library)

    builds = (old, new, old) if order == "upgraded" else (new, old, new)
    victims = []
    for build in builds:
        install(build)
        victims.append(start(layout))
        row = run.apply(victims[-1].pid)
        # Nobody can say of a build that is neither the livepatch's nor on disk any more whether it has the fault.
        assert row.outcome == ("patched" if build is old else "already_fixed_on_disk"), row
    for victim, build in zip(victims, builds):
        row = run.check(victim.pid)
        if build is old:
            assert row.outcome == "already_patched" and victim.ask("answer") == "5001"
            assert run.revert(victim.pid).outcome == "reverted"
        else:
            assert row.outcome in ("already_fixed_on_disk", "not_patchable", "not_patched") and row.reason
        assert victim.ask("answer") == "20"
