# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are meant where livepatches are named, or a directory of them."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch_files import livepatch_files


@pytest.fixture(name="directory")
def fixture_directory(tmp_path):
    for name in ("b.ulp", "a.ulp", "a.ulp.sig", ".c.ulp", "notes"):
        (tmp_path / name).write_text("")
    (tmp_path / "sub.ulp").mkdir()
    (tmp_path / "sub.ulp" / "d.ulp").write_text("")
    return tmp_path


def test_a_directory_stands_for_its_livepatches(directory):
    wanted = [f"{directory}/a.ulp", f"{directory}/b.ulp"]
    assert livepatch_files(directory) == livepatch_files(str(directory)) == livepatch_files([directory]) == wanted


def test_in_the_order_in_which_they_are_named(directory):
    (directory / "link.ulp").symlink_to("a.ulp")
    # Through whatever path, a file counts once.
    assert livepatch_files([directory / "b.ulp", directory / "link.ulp", directory]) == [
        f"{directory}/b.ulp", f"{directory}/link.ulp"]
    assert livepatch_files(["absent.ulp", "x/../absent.ulp"]) == ["absent.ulp"]


def test_nothing_is_refused(directory, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UlpError, match=f"the directory {empty} has no livepatch in it"):
        livepatch_files([directory, empty])
    with pytest.raises(UlpError, match="no livepatch is named"):
        livepatch_files([])
