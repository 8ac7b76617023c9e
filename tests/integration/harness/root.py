# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root to build in that is made in no time: the host's programs and libraries, and settings of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@contextlib.contextmanager
def host_root(directory: Path, compiler: str = "gcc", name: str = "") -> Iterator[Path]:
    """A root whose ``cc`` is ``compiler``, and which calls itself ``name``."""
    (directory / "usr").mkdir(parents=True)
    subprocess.run(["mount", "--bind", "/usr", directory / "usr"], check=True)
    try:
        # Whatever becomes of the test, nobody who clears up removes what is in there.
        subprocess.run(["mount", "-o", "remount,bind,ro", directory / "usr"], check=True)
        for each in MERGED:
            if os.path.islink(f"/{each}"):
                (directory / each).symlink_to(os.readlink(f"/{each}"))
        for each in ("proc", "dev", "tmp", "var/lib/dpkg", "etc"):
            (directory / each).mkdir(parents=True)
        (directory / "var" / "lib" / "dpkg" / "status").touch()
        if Path("/etc/alternatives").is_dir():
            shutil.copytree("/etc/alternatives", directory / "etc" / "alternatives", symlinks=True)
            (directory / "etc" / "alternatives" / "cc").unlink(missing_ok=True)
            (directory / "etc" / "alternatives" / "cc").symlink_to(f"/usr/bin/{compiler}")
        shutil.copy("/etc/ld.so.cache", directory / "etc")
        (directory / "etc" / "os-release").write_text(f'NAME="x"\nPRETTY_NAME="{name}"\n')
        yield directory
    finally:
        subprocess.run(["umount", directory / "usr"], check=True)


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that ordinary users may enter; those of pytest they may not, once another run of it begins."""
    directory = Path(tempfile.mkdtemp(prefix="ulp-root-"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


def own_files(root: Path) -> dict[str, object]:
    """{path: when it was changed} of all that a root has besides what is mounted there."""
    found = {}
    for place, directories, files in os.walk(root):
        if Path(place) == root:
            directories.remove("usr")
        for name in (*directories, *files):
            path = os.path.join(place, name)
            found[path] = os.lstat(path).st_ctime_ns
    return found
