# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runtimes of earlier versions, built from the history: they are in processes that nobody restarts."""

from __future__ import annotations

import subprocess

import pytest
from conftest import CHECKOUT, LayoutVictim
from test_stock import NEW, fixture_livepatch, fixture_packed, only, python_of, saving

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.site import SHORT
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

# {version of the interface: the last commit that had it}
COMMITS = {3: "fd4bcd9^", 4: "adf3499", 5: "c2c3f06", 6: "de9d220"}
# From these versions on functions without padding can be replaced, by way of a gap, and where a saved register changes.
PUNS_SINCE, GAPS_SINCE, SAVED_SINCE = 5, 6, 7


# pytest finds them by this module's names.
stock_livepatch = fixture_livepatch
stock_packed = fixture_packed


@pytest.fixture(scope="module", params=COMMITS, name="older")
def fixture_older(request, tmp_path_factory):
    """(version, the directory with a libpulp.so of that version)."""
    directory = tmp_path_factory.mktemp("older")
    archive = subprocess.run(
        ["git", "-C", CHECKOUT, "archive", COMMITS[request.param], "native"], check=False, capture_output=True)
    if archive.returncode:
        pytest.skip("the history of the checkout does not go back so far")
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
    build = directory / "build"
    subprocess.run(["meson", "setup", build, directory / "native"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", build, "libpulp.so"], check=True, stdout=subprocess.DEVNULL)
    return request.param, build


def test_read_checked_reverted(older, padded, trigger, look):
    """Seen to fail with ``the runtime speaks version 4 of the interface, and this tool version 5``."""
    version, build = older
    victim = LayoutVictim(padded, "commands", build)
    try:
        assert look(victim).state.interface.version == version
        patch = trigger(padded)
        for _each in range(2):
            row = patch.apply(victim.pid)
            assert (row.outcome, row.reason) == ("patched", "")
            assert victim.ask("answer") == "5001"
            assert patch.check(victim.pid).outcome == patch.apply(victim.pid).outcome == "already_patched"
            (library,) = look(victim).state.libraries
            assert library.name == "libvictim.so" and library.hooked == 4
            row = patch.revert(victim.pid)
            assert (row.outcome, row.reason) == ("reverted", "")
            assert victim.ask("answer") == "20"
        assert victim.end() == 0
    finally:
        victim.kill()


def test_stock_functions(older, livepatch, files):
    """Of a kind of site that it does not know it is never told: seen to take a gap's jump for that of a wide site."""
    version, build = older
    if version < PUNS_SINCE:
        pytest.skip("it cannot replace functions without padding")
    victim = python_of(build)
    try:
        old = victim.ask("?")
        if version < GAPS_SINCE:
            row = Trigger(only(SHORT, livepatch), files, Options()).apply(victim.pid)
            assert row.outcome == "not_patchable" and not row.changed
            assert "of an older version, cannot go by way of a gap" in row.reason
        trigger = Trigger(livepatch, files, Options())
        row = trigger.apply(victim.pid)
        assert (row.outcome, row.reason) == ("patched", "")
        assert victim.ask("?") == NEW
        assert trigger.check(victim.pid).outcome == "already_patched"
        assert trigger.revert(victim.pid).outcome == "reverted"
        assert victim.ask("?") == old
    finally:
        victim.kill()


def test_what_it_lacks_is_said(older, livepatch, files):
    version, build = older
    if version >= PUNS_SINCE:
        pytest.skip("it lacks nothing that this livepatch needs")
    victim = python_of(build)
    try:
        row = Trigger(livepatch, files, Options()).apply(victim.pid)
        assert row.outcome == "not_patchable" and not row.changed
        assert f"(interface {version}), which cannot replace functions without padding" in row.reason
    finally:
        victim.kill()


def test_saved_registers(older, packed, files):
    """Its unwinders would not find what the moved instruction changes: seen to be told of such a site."""
    version, build = older
    if not PUNS_SINCE <= version < SAVED_SINCE:
        pytest.skip("it cannot replace functions without padding at all")
    livepatch = saving(packed)
    victim = python_of(build)
    try:
        row = Trigger(livepatch, files, Options()).apply(victim.pid)
        assert row.outcome == "not_patchable" and not row.changed
        assert "change a saved register" in row.reason and "of an older version" in row.reason
    finally:
        victim.kill()
