# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rows of a dispatch mean for whoever asked: for nobody in particular, or for a process by its PID."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import (
    CHECK,
    PATCH,
    REVERT,
    Dispatched,
    count_outcomes,
    state_text,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.outcome import (
    MEANINGS,
    OUTCOMES,
    Row,
    by_process,
)


def dispatched(operation, outcome, named, threads_pending=0):
    row = Row(7, "app", outcome, "why", threads=3, threads_pending=threads_pending)
    return Dispatched(operation, "ab" * 32, [row], [], named=frozenset((7,) if named else ()))


def those(operation, prop, named):
    """The outcomes for which the one row is in the property ``prop``."""
    return {outcome for outcome in OUTCOMES if getattr(dispatched(operation, outcome, named), prop)}


def test_applied():
    """Guards the one sentence that people rely on. Seen to fail when ``named`` did not count."""
    good = {"patched", "already_patched"}
    assert set(OUTCOMES) - those(CHECK, "lacking", True) == good
    assert set(OUTCOMES) - those(CHECK, "lacking", False) == good | {
        "not_applicable", "already_fixed_on_disk", "excluded"}
    for named in (False, True):
        assert not dispatched(CHECK, "pending", named, threads_pending=1).applied
    assert Dispatched(CHECK, "ab" * 32, [], []).applied


@pytest.mark.parametrize("operation", [PATCH, REVERT, CHECK])
def test_failures(operation):
    assert those(operation, "failures", False) == {"failed", "pending"}
    assert those(operation, "failures", True) == {"failed", "pending", "not_patchable"}
    # Threads that are inside get there by themselves.
    assert not dispatched(operation, "pending", True, threads_pending=1).failures


def test_unmet():
    for operation in (PATCH, REVERT, CHECK):
        assert those(operation, "unmet", False) == set()
        assert not dispatched(operation, "pending", True, threads_pending=1).unmet
    assert set(OUTCOMES) - those(PATCH, "unmet", True) == {"patched", "already_patched"}
    # A process without the livepatch is what was asked for, unless somebody held it back.
    assert set(OUTCOMES) - those(REVERT, "unmet", True) == {"reverted", "not_applicable", "already_fixed_on_disk"}


def test_count():
    rows = [Row(1, "a", "patched"), Row(2, "b", "patched"), Row(3, "c", "failed")]
    assert count_outcomes(rows) == {"patched": 2, "failed": 1}


def test_a_process_with_several_livepatches_counts_once():
    """Guards that it counts as what is worst of it. Seen to fail with two processes counted."""
    one, other = Row(1, "a", "already_patched", patch_id="ab"), Row(1, "a", "pending", patch_id="cd")
    rows = [one, other, Row(2, "b", "patched")]
    assert count_outcomes(rows) == {"pending": 1, "patched": 1}
    assert all(by_process([(1, word)]) == {1: word} for word in MEANINGS)


def test_state_names_the_livepatch_of_each_row():
    rows = [
        Row(1, "a", "patched", changed=True, patch_id="ab" * 32), Row(1, "a", "already_patched", patch_id="cd" * 32),
        Row(2, "b", "patched", changed=True, patch_id="cd" * 32),
    ]
    result = Dispatched(PATCH, "", rows, [])
    assert state_text(result, True) == f"1 a: {'ab' * 8} applied\n2 b: {'cd' * 8} applied\n"
    assert state_text(result, False) == f"1 a: {'ab' * 8} not applied\n2 b: {'cd' * 8} not applied\n"
