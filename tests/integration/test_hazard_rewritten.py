# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that write to the code of a library, or move it: back to what it was, or to huge pages.

What is done to single bytes, by probes and debuggers, is in tests/unit/live/trigger/test_hooks.py.
"""

from __future__ import annotations

import json

import pytest
from harness.livepatch import APPLIED, NOT_APPLIED
from harness.variant import STOCK, Variant

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import read_code_maps

PAIRS = {name: f"patched_{name}" for name in ("hidden_version", "far_version")}
OLD, NEW = [1, 1], [2, 2]


@pytest.fixture
def patched(target, start, livepatch, variant):
    """A function that gives a victim, and the livepatch for it."""
    build = target("rewritten", variant)

    def make():
        return start(build), livepatch(build.patch("fix", PAIRS))

    return make


def row_of(patch, operation, victim):
    """The one row of a dispatch of ``patch`` to the victim."""
    answer = patch.ulp.run("dispatch", "--json", operation, patch.ulp_file, victim.pid)
    (row,) = json.loads(answer.output)
    return row


def listed(patch, victim):
    return json.loads(patch.ulp.run("list", "--json", "-p", victim.pid).output)


@pytest.mark.parametrize("rewrite", ["restore", "move library saved", "forget"])
def test_program_that_takes_its_old_code_back(patched, rewrite):
    """Guards that a hook counts only while it is there. Seen to fail with *applied*, while old functions ran."""
    victim, patch = patched()
    assert victim.ask("save") == "saved"
    patch.apply(victim)
    assert victim.numbers("version") == NEW
    assert patch.check(victim) == APPLIED
    victim.ask(rewrite)
    assert victim.numbers("version") == OLD
    assert patch.check(victim) == NOT_APPLIED
    (shown,) = listed(patch, victim)["processes"][0]["patches"]
    assert shown["status"] == "undone"
    assert "librewritten.so.1" in shown["undone"]
    row = row_of(patch, "patch", victim)
    assert row["outcome"] == "patched"
    assert "hooked again" in row["reason"]
    assert victim.numbers("version") == NEW
    assert patch.check(victim) == APPLIED
    patch.revert(victim)
    assert victim.numbers("version") == OLD


@pytest.mark.parametrize("what, how", [
    ("library", "anonymous"), ("library", "file"), ("library", "away"), ("page", "anonymous"),
])
def test_code_that_was_moved_before(patched, what, how):
    """Guards that a vulnerable build is seen wherever its code lies. Seen to fail with ``not_applicable``.

    In stock mode facts were seen to say nothing of it.
    """
    victim, patch = patched()
    victim.ask(f"move {what} {how}")
    assert victim.numbers("version") == OLD
    for operation in ("patch", "check"):
        row = row_of(patch, operation, victim)
        assert row["outcome"] == "not_patchable"
        assert "has moved code of librewritten.so.1 out of its file" in row["reason"]
    reasons = [process["reason"] for process in listed(patch, victim)["unpatchable"]]
    assert len(reasons) == 1 and "has moved code of librewritten.so.1" in reasons[0]
    # Without being asked for, too.
    answer = patch.ulp.run("dispatch", "--json", "--dry-run", "patch", patch.ulp_file)
    assert victim.pid in [row["pid"] for row in json.loads(answer.output)]
    assert victim.numbers("version") == OLD


def test_stock_code_that_was_moved_is_told_of_a_process_without_runtime(target, start, ulp):
    """Beside that the runtime could be loaded into it. Seen to fail: facts said nothing else."""
    victim = start(target("rewritten", Variant(STOCK)), preload=[])

    def told():
        found = json.loads(ulp.run("list", "--all", "--json", "-p", victim.pid).output)["unpatchable"]
        return [(process["patchable"], process["reason"]) for process in found]

    ((how, _reason),) = told()
    assert how == "by attaching"
    victim.ask("move library anonymous")
    (_attaching, (how, reason)) = told()
    assert how == "no" and "has moved code of librewritten.so.1 out of its file" in reason


@pytest.mark.parametrize("how", ["anonymous", "file", "away"])
def test_code_that_was_moved_with_its_hooks(patched, how):
    """The hooks are where they were, and so is the livepatch."""
    victim, patch = patched()
    patch.apply(victim)
    victim.ask(f"move library {how}")
    assert victim.numbers("version") == NEW
    assert patch.check(victim) == APPLIED
    assert listed(patch, victim)["unpatchable"] == []
    patch.revert(victim)
    assert victim.numbers("version") == OLD
    patch.apply(victim)
    assert victim.numbers("version") == NEW


def test_program_of_which_the_code_was_moved(patched):
    victim, _patch = patched()
    victim.ask("move program anonymous")
    libraries = MappedFiles().libraries(victim.pid, read_code_maps(victim.pid))
    assert [library.survey.interpreter for library in libraries if library.moved] == [True]
    assert victim.numbers("version") == OLD
