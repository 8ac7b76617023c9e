# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an author may allow, and what nobody can."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build import refusals
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.refusals import Refusals

KINDS = [value for name, value in vars(refusals).items() if name.isupper() and isinstance(value, str)]
FINAL = {"reference", "link-time optimisation", "needed library", "running library", "stripped", "no change",
         "trial process"}
PAGE = Path(__file__).parents[3] / "docs" / "not-patchable.md"


@pytest.mark.parametrize("kind", KINDS)
def test_by_name_or_pattern(kind):
    """Seen to fail: what no process takes could be allowed, and its message said how."""
    for pattern in ("libx.so", "lib*", f"{kind}:libx.so"):
        found = Refusals([pattern])
        assert found.add(kind, "libx.so", "libx.so is not what was asked for") == (kind not in FINAL)
        assert bool(found.refused) == (kind in FINAL)
        assert found.unused == ([pattern] if kind in FINAL else [])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"no change"}))
def test_each_kind_has_its_row(kind):
    """docs/not-patchable.md says what to do."""
    assert f"| **{kind}**" in PAGE.read_text(encoding="utf-8")
