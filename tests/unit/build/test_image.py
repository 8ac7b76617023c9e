# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podman exports, unpacked as a root; tests/packages/test_roots.py has podman itself."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.errors import BuildFailed
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.image import unpacked_image
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import MissingProgram

# It has an image if there is an archive, whose contents are its ID, and warns with each word, as rootless podman does.
PODMAN = """\
#!/bin/sh
echo "time=$(date +%N) level=warning msg=Using rootless single mapping" >&2
echo "$*" >>"{place}/said"
case "$1 $2" in
"image exists") test -f "{place}/image.tar" ;;
"image inspect") sha256sum <"{place}/image.tar" | cut -c 1-64 ;;
"create "*) echo made | sha256sum | cut -c 1-64 ;;
"export "*) cp "{place}/image.tar" "$3" ;;
"rm "*) ;;
*) exit 125 ;;
esac
"""


@pytest.fixture(name="podman")
def fixture_podman(tmp_path, monkeypatch):
    """A function that makes an image of a tree with this text in a file; gives what podman was asked."""
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(PODMAN.format(place=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    tree = tmp_path / "tree"
    for name in ("dev", "usr/dev", "closed"):
        (tree / name).mkdir(parents=True)
    (tree / "dev" / "null").touch()
    (tree / "usr" / "dev" / "kept").touch()
    (tree / "closed" / "file").touch()
    (tree / "closed").chmod(0o555)

    def make(text):
        (tree / "text").write_text(text)
        subprocess.run(["tar", "-C", tree, "-cf", tmp_path / "image.tar", "--transform=s,^[.]/,,", "."], check=True)
        (tmp_path / "said").write_text("")
        return lambda: [line.split()[0] for line in (tmp_path / "said").read_text().splitlines()]

    return make


def test_an_image_is_unpacked_when_it_changes(podman, tmp_path):
    """Seen to fail, with an image that was unpacked by each run, where podman warns of something."""
    steps = []
    said = podman("one")
    root = unpacked_image("answer", str(tmp_path / "kept"), steps.append)
    assert Path(root, "text").read_text() == "one"
    assert not os.path.exists(os.path.join(root, "dev", "null"))
    assert os.path.exists(os.path.join(root, "usr", "dev", "kept"))
    assert stat.S_IMODE(os.stat(root).st_mode) & 0o700 == 0o700
    assert said() == ["image", "image", "create", "export", "rm"]
    assert unpacked_image("answer", str(tmp_path / "kept"), steps.append) == root
    assert said()[5:] == ["image", "image"] and len(steps) == 1
    podman("two")
    unpacked_image("answer", str(tmp_path / "kept"), steps.append)
    assert Path(root, "text").read_text() == "two"
    assert len(steps) == 2 and sorted(os.listdir(tmp_path / "kept")) == ["identity", "root"]


def test_what_podman_does_not_have(podman, tmp_path, monkeypatch):
    podman("one")
    (tmp_path / "image.tar").unlink()
    with pytest.raises(BuildFailed, match="^podman has no such image"):
        unpacked_image("answer", str(tmp_path / "kept"), print)
    (tmp_path / "image.tar").write_text("no archive")
    with pytest.raises(BuildFailed, match="^cannot unpack the image: tar says"):
        unpacked_image("answer", str(tmp_path / "kept"), print)
    # The container is gone all the same, and nothing half is taken for an image.
    assert (tmp_path / "said").read_text().splitlines()[-1].startswith("rm ")
    assert "identity" not in os.listdir(tmp_path / "kept")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(MissingProgram):
        unpacked_image("answer", str(tmp_path / "kept"), print)
