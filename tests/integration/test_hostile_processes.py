# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that mean ill, each beside twenty honest ones, which are all served.

A kind of hostile process is a function that starts one on a harness.hostile.Stage and gives its PID.  It stands in
KINDS with what the tools have to say of it.
"""

from __future__ import annotations

import os
from typing import Callable, NamedTuple

import pytest
from harness.blocked import version_patch
from harness.hostile import LARGEST_KB, Crowd, Stage, measured, staged
from harness.variant import USUAL


def fifo_in_its_place(stage: Stage) -> int:
    """Its file is no more, and where it was there is a FIFO that nobody writes to.

    Seen to hang with the file opened by its path.
    """
    path = stage.copy_of_library()
    pid = stage.start_mapping(path)
    path.unlink()
    os.mkfifo(path)
    return pid


class Kind(NamedTuple):
    """One kind of hostile process."""

    start: Callable[[Stage], int]
    # Words that stand in the reason of its row, in a dispatch over the whole host; None: it has no row.
    row: str | None = None
    # Words that stand in the reason why the facts call it unpatchable; None: any.
    unpatchable: str | None = None


KINDS = {
    "fifo in its place": Kind(fifo_in_its_place, "without the livepatch runtime", "without the livepatch runtime"),
}


@pytest.fixture(scope="module")
def build(hazards, preforked):
    return hazards("blocked").build(USUAL[0], preforked)


@pytest.fixture(scope="module")
def container(build):
    return version_patch(build)


@pytest.fixture(scope="module")
def crowd(build):
    crowd = Crowd(build)
    yield crowd
    crowd.finish()


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def hostile(kind, build, container):
    """The PID of the hostile process."""
    with staged(build, container) as stage:
        yield kind.start(stage)


def rows(ulp, *words):
    """{PID: row} of a run over the whole host."""
    run = measured(ulp, *words, "--json")
    assert run.largest_kb < LARGEST_KB, run
    return {row["pid"]: row for row in run.answer.json()}


def test_honest_ones_are_served(kind, hostile, crowd, container, ulp):
    """Guards everybody else: list, facts, dispatch and check."""
    run = measured(ulp, "list", "--json")
    facts = run.answer.json()
    assert run.largest_kb < LARGEST_KB, run
    assert {process["pid"] for process in facts["processes"]} >= set(crowd.pids)
    reasons = {process["pid"]: process["reason"] for process in facts["unpatchable"]}
    assert kind.unpatchable is None or kind.unpatchable in reasons[hostile]

    for operation, outcome, version in (
        ("patch", "patched", 2), ("check", "already_patched", 2), ("revert", "reverted", 1)
    ):
        policy = () if operation == "check" else ("--ledger", "")
        found = rows(ulp, "dispatch", operation, container, *policy)
        assert [found[pid]["outcome"] for pid in crowd.pids] == [outcome] * len(crowd.pids), found
        assert crowd.versions() == {version}
        if kind.row is None:
            assert hostile not in found, found[hostile]
        else:
            assert kind.row in found[hostile]["reason"]
