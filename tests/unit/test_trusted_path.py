# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether another user could change what a path leads to, on real files and directories."""

from __future__ import annotations

import os

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import FileProblem, Untrusted
from ansible_collections.libpulp.livepatch.plugins.module_utils.trusted_path import require_unchangeable

DAEMON, NOBODY = 1, 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(name="place")
def fixture_place(tmp_path):
    """The file outer/inner/fix.ulp, which nobody else can change."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for directory in (inner, inner.parent, tmp_path):
        directory.chmod(0o755)
    file = inner / "fix.ulp"
    file.write_bytes(b"contents")
    file.chmod(0o644)
    return file


def refused(path):
    """The sentence with which it is refused."""
    with pytest.raises(Untrusted) as caught:
        require_unchangeable(path, "livepatch")
    sentence = str(caught.value)
    assert sentence.startswith(f"the livepatch {path} is refused")
    assert "\n" not in sentence
    return sentence


def test_own_file(place):
    require_unchangeable(place, "livepatch")
    # Others may read what they like, and root's files are fine for everybody.
    require_unchangeable("/etc/passwd", "livepatch")
    require_unchangeable(os.path.relpath(place), "livepatch")


@pytest.mark.parametrize("mode, who", [(0o664, "its group"), (0o646, "everybody"), (0o666, "everybody")])
def test_writable_file(place, mode, who):
    place.chmod(mode)
    assert f"{place} is writable by {who}" in refused(place)


@pytest.mark.parametrize("levels", [0, 1])
@pytest.mark.parametrize("mode, who", [(0o775, "its group"), (0o777, "everybody")])
def test_writable_directory(place, levels, mode, who):
    directory = place.parents[levels]
    directory.chmod(mode)
    assert f"{directory} is writable by {who}" in refused(place)
    # Sticky: nobody else can rename or remove what is ours.
    directory.chmod(mode | 0o1000)
    require_unchangeable(place, "livepatch")


@needs_root
@pytest.mark.parametrize("owner", [DAEMON, NOBODY, 4242])
def test_owner(place, owner):
    for entry in (place, place.parent, place.parent.parent):
        os.chown(entry, owner, -1)
        assert f"{entry} belongs to the user " in refused(place)
        os.chown(entry, 0, -1)
    require_unchangeable(place, "livepatch")


@needs_root
def test_sticky_directory_with_somebody_elses_file(place):
    place.parent.chmod(0o1777)
    os.chown(place, DAEMON, -1)
    refused(place)


def test_symbolic_links(place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(place)
    require_unchangeable(link, "livepatch")
    (tmp_path / "relative").symlink_to("outer/../outer/inner")
    require_unchangeable(tmp_path / "relative" / "fix.ulp", "livepatch")
    place.parent.chmod(0o777)
    assert str(place.parent) in refused(link)
    assert str(place.parent) in refused(tmp_path / "relative" / "fix.ulp")
    place.parent.chmod(0o755)
    # The file is safe, but who can write here can have the link lead elsewhere.
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    (open_to_all / "link").symlink_to(place)
    open_to_all.chmod(0o777)
    assert str(open_to_all) in refused(open_to_all / "link")


@needs_root
def test_somebody_elses_link_in_a_sticky_directory(place, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "link"
    link.symlink_to(place)
    require_unchangeable(link, "livepatch")
    os.chown(link, DAEMON, -1, follow_symlinks=False)
    assert f"{link} belongs to" in refused(link)


def test_what_leads_nowhere(place, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for path in (tmp_path / "nothing", tmp_path / "loop", tmp_path / "dangling", place / "below"):
        with pytest.raises(FileProblem, match=path.name):
            require_unchangeable(path, "livepatch")
