# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook livepatch_status says of a host, on facts as ulp_facts gives them."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.status import status

LIBRARY = {"path": "/usr/lib/libz.so.1"}


def patchable(pid, name, pending=0, libraries=(LIBRARY,), patches=(), attached=False):
    return {"pid": pid, "name": name, "patchable": "now", "attached": attached, "threads": 4,
            "threads_pending": pending, "libraries": list(libraries),
            "patches": [
                {"name": "fix.ulp", "patch_id": "ab" * 32, "status": its, "time": "2026-11-24T12:00:00Z",
                 "libraries": ["libz.so.1"], "undone": "function f is not as we left it" if its == "undone" else ""}
                for its in patches]}


def unpatchable(pid, name, libraries=("/usr/lib/libz.so.1",), forbidden=False, runs_ansible=False, how="no"):
    return {"pid": pid, "name": name, "patchable": how, "reason": f"process {pid} has no runtime",
            "forbidden": forbidden, "libraries": None if libraries is None else list(libraries),
            "runs_ansible": runs_ansible}


FACTS = {
    "runtime_versions": ["1.1.0"],
    "processes": [
        patchable(1, "bare", libraries=()), patchable(2, "well", patches=["applied"]), patchable(3, "new"),
        patchable(4, "back", patches=["reverted"]), patchable(5, "late", 1, patches=["applied"]),
        patchable(6, "probed", patches=["undone"]), patchable(12, "given", patches=["applied"], attached=True),
    ],
    "unpatchable": [
        unpatchable(7, "old"), unpatchable(8, "cat", libraries=()), unpatchable(9, "ssh", runs_ansible=True),
        unpatchable(10, "secret", libraries=None, forbidden=True), unpatchable(11, "odd", libraries=None),
        unpatchable(13, "bereft", how="by attaching"), unpatchable(14, "stock", libraries=(), how="by attaching"),
    ],
}


def named(lines):
    """The names of the processes, in order."""
    return [line.split()[1] for line in lines if line[0].isdigit()]


@pytest.mark.parametrize("everything", [False, True])
def test_what_needs_attention_comes_first(everything):
    lines = status(FACTS, "web1", everything)
    assert lines[0] == "web1: 7 livepatchable (1 of them attached to), 2 by attaching, 5 not, runtime 1.1.0"
    well = ["well", "new", "back", "given"]
    names = ["probed", "late", "old", "odd", "bereft", *(["bare"] if everything else []), *well]
    assert named(lines) == names + (["cat", "ssh", "secret", "stock"] if everything else [])
    assert lines[3] == "         function f is not as we left it"
    states = {line.split()[1]: line[26:44].strip() for line in lines if line[0].isdigit()}
    assert {name: states[name] for name in names if name != "bare"} == {
        "probed": "undone", "late": "pending", "old": "not patchable", "odd": "not patchable", "well": "patched",
        "new": "patchable", "back": "reverted", "given": "patched, attached", "bereft": "by attaching"}
    assert (lines[-1] == "left out: 1 process that this user may not examine") == (not everything)


NOTHING = "nothing to show: no process has to do with a livepatch"


def test_nothing_to_show():
    facts = dict(FACTS, processes=FACTS["processes"][:1], unpatchable=FACTS["unpatchable"][1:3])
    assert status(facts, "web1")[1:] == [f"{NOTHING}; livepatch_show_all=true shows 3 processes that have not"]
    assert status(dict(FACTS, processes=[], unpatchable=[]), "web1")[1:] == [NOTHING]


def test_without_what_cannot_be_patched():
    assert not {"old", "odd"} & set(named(status(FACTS, "web1", unpatchable=False)))


def test_names_forge_no_line():
    facts = dict(FACTS, processes=[patchable(1, "a\nb\x1b[2J", patches=["applied"])], unpatchable=[])
    assert all(line.isprintable() for line in status(facts, "web1"))
