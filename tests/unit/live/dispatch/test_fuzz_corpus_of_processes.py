# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus of `make fuzz`, for what is read of processes: what has failed once is tried for ever."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fuzz"))

from fuzzing.oracle import bounded
from fuzzing.process import TARGETS, close, victim

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import facts

CASES = [(target, path) for target in TARGETS for path in target.corpus()]


@pytest.fixture(scope="module", autouse=True)
def fixture_one_victim():
    yield
    close()


@pytest.mark.parametrize(("target", "path"), CASES, ids=[f"{target.name}-{path.name}" for target, path in CASES])
def test_corpus(target, path):
    with bounded():
        target.check(path.read_bytes())


def test_undamaged_process_is_accepted_and_mended_ones_are_as_before():
    """Guards against inputs that hit nothing: each region, overwritten, is seen, and then is as it was."""
    process = victim()
    damaged, _frames = TARGETS
    assert damaged.check(b"")
    # Region, place, length, and what is written there: the state block's magic.
    assert not damaged.check(b"\0\0\0\0" + b"\0\0\0\0" + b"\x08\0\0\0" + b"\xff" * 8)
    assert damaged.check(b"")
    assert process.ask("answer") == "5001"


def test_fault_of_the_tool_is_no_answer(monkeypatch, faults_met):
    """Guards against the net that makes a row of every exception: here it must not hide any."""

    def broken(*_arguments):
        raise KeyError("nobody expects this")

    monkeypatch.setattr(facts, "describe", broken)
    with pytest.raises(AssertionError, match="nobody expects this"):
        TARGETS[0].check(b"")
    faults_met.clear()
