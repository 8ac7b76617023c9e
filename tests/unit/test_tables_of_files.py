# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the documentation name every file of the folders that they explain."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page, folder, pattern", [
    ("runtime.md", "native/runtime", "*.c"),
    ("runtime.md", "native/arch/x86_64", "*.[cS]"),
    ("internals.md", "plugins/module_utils/process", "*.py"),
    ("internals.md", "plugins/module_utils/build", "*.py"),
])
def test_every_file_is_explained(page, folder, pattern):
    """Seen to fail with ``checksum.c`` and four files of the architecture, which no table named."""
    text = (CHECKOUT / "docs" / page).read_text(encoding="utf-8")
    files = sorted(path.name for path in (CHECKOUT / folder).glob(pattern) if path.name != "__init__.py")
    assert files
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    assert [name for name in files if name not in rows and f"`{name.rpartition('.')[0]}`" not in rows] == []
