# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that has a second build of the library loaded, as with a copy that a plug-in brings along.

The livepatch is for one build, and only that is repaired; nobody may take the process for one that has no other.
"""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage

PLUGIN = r"""
#include <dlfcn.h>
__attribute__((constructor)) static void load(void) { if (!dlopen(BUNDLED, RTLD_NOW)) __builtin_trap(); }
"""


@pytest.fixture(name="bundled")
def fixture_bundled(layouts, tmp_path):
    """The other build of the library, under another name."""
    return shutil.copyfile(layouts["posted"].library, tmp_path / "bundled.so")


@pytest.fixture(name="victim")
def fixture_victim(padded, bundled, start, compile_library):
    """A process with both builds."""
    plugin = compile_library(f'#define BUNDLED "{bundled}"\n{PLUGIN}', name="plugin.so", padding=())
    return start(padded, besides=(plugin,))


def test_the_other_build_is_named(padded, bundled, victim, trigger):
    """Seen to fail, with rows without a reason, without the list Resolution.additional_builds."""
    build_id = ElfImage.open(bundled).build_id.hex()
    also = (
        f"process {victim.pid} (app) also runs {bundled} with build ID {build_id}, for which this livepatch is not"
    )
    patch = trigger(padded)
    before = patch.check(victim.pid)
    assert (before.outcome, before.reason) == (
        "failed", f"the livepatch is not applied to process {victim.pid} (app); {also}"
    )
    foreseen = trigger(padded, check=True).apply(victim.pid)
    assert (foreseen.outcome, foreseen.reason) == ("patched", also)
    row = patch.apply(victim.pid)
    assert (row.outcome, row.changed, row.reason) == ("patched", True, also)
    assert victim.ask("answer") == "5001"
    (process,) = gather(Selection(pids=(victim.pid,)))["processes"]
    assert {library["path"]: len(library["patches"]) for library in process["libraries"]} == {
        str(padded.library): 1, str(bundled): 0
    }
    for row in (patch.apply(victim.pid), patch.check(victim.pid)):
        assert (row.outcome, row.reason) == ("already_patched", also)
    assert patch.revert(victim.pid).outcome == "reverted"


def test_each_build_gets_its_own_livepatch(layouts, victim, trigger):
    """What the row names is what the other livepatch is for, and the other way round."""
    for name, other in (("padded", "posted"), ("posted", "padded")):
        row = trigger(layouts[name]).apply(victim.pid)
        assert row.outcome == "patched"
        assert ElfImage.open(layouts[name].library).build_id.hex() not in row.reason
        assert ElfImage.open(layouts[other].library).build_id.hex() in row.reason
