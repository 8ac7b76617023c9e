# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a process by what became of each copy of a library in it."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.outcome import (
    ALREADY_PATCHED,
    FAILED,
    NOT_PATCHABLE,
    PATCHED,
    PENDING,
    Row,
    combined,
)

WAITING = Row(1, "app", PENDING, "one thread is inside", threads=2, threads_pending=1)


@pytest.mark.parametrize("word", [FAILED, NOT_PATCHABLE])
def test_a_copy_without_the_livepatch(word):
    """Seen to fail with "pending", which is no failure, of a copy that never gets the livepatch."""
    for rows in ([WAITING, Row(1, "app", word, "it may not")], [Row(1, "app", word, "it may not"), WAITING]):
        row = combined(rows)
        assert row.outcome == word


@pytest.mark.parametrize(("words", "expected"), [
    ((PATCHED, ALREADY_PATCHED), PATCHED),
    ((ALREADY_PATCHED, ALREADY_PATCHED), ALREADY_PATCHED),
    ((PATCHED, PENDING), PENDING),
    ((NOT_PATCHABLE, FAILED), FAILED),
])
def test_which_outcome_counts(words, expected):
    assert combined([Row(1, "app", word) for word in words]).outcome == expected
