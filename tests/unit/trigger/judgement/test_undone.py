# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of functions whose hooks somebody else has undone: of one, and of several."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.hooks import BREAKPOINT, ORIGINAL, UNMAPPED
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.judgement.undone import Undoing

OTHER = "another"
KINDS = [BREAKPOINT, ORIGINAL, UNMAPPED, OTHER]


@pytest.mark.parametrize("found", KINDS)
def test_one_function(found):
    reason = Undoing(("f of lib.so",), found, True).reason
    assert reason.startswith("function f of lib.so is not as we left it: ")
    assert "their" not in reason


@pytest.mark.parametrize("found", KINDS)
def test_several_functions(found):
    """Seen to fail with "functions f of lib.so and g of lib.so are not as we left them: its old code is back"."""
    reason = Undoing(("f of lib.so", "g of lib.so"), found, True).reason
    assert reason.startswith("functions f of lib.so and g of lib.so are not as we left them: ")
    assert "its old" not in reason and "its entry" not in reason
