# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people ask for when they build a livepatch."""

from __future__ import annotations

import os

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.ordering import Order, work_directory


@pytest.mark.parametrize("work", ["work", "../work", None])
def test_the_work_directory_is_absolute(work, tmp_path, monkeypatch):
    """Seen to fail with ``work``: apt took it for a path below its own directory, and found no source package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "home")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    found = work_directory(Order(output="out", build_timeout=1.0, source="answer", work=work))
    assert os.path.isabs(found) and ".." not in found
