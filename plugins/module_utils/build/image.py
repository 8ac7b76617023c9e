# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file system of a container image, unpacked as a root.

podman exports it without starting anything of it, and so it needs no more rights than whoever builds has.
Source: podman-create(1), podman-export(1), podman-image-exists(1).
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import Callable

from ..atomic_file import read_file
from ..errors import FileProblem, MissingProgram
from .commands import run
from .errors import BuildFailed

# What an ordinary user cannot make, and each root gets anew.
_LEFT_OUT = ("dev/*", "proc/*", "sys/*")
# The exit status of podman-image-exists(1).
_NO_IMAGE = 1


def unpacked_image(name: str, directory: str, progress: Callable[[str], None]) -> str:
    """The directory with the file system of an image that podman has, now or from an earlier run.

    :param directory: for this image alone; keeps which version of it is there.
    :raises BuildFailed: podman has no such image, or cannot export it.
    """
    identity = _identity(name)
    root, note = os.path.join(directory, "root"), os.path.join(directory, "identity")
    try:
        if os.path.isfile(note) and read_file(note).decode() == identity:
            return root
        progress("unpack the image")
        if os.path.lexists(note):
            os.unlink(note)
        remove_tree(root)
        os.makedirs(root, mode=0o700)
        _export(name, identity, root)
        with open(note, "w", encoding="ascii") as stream:
            stream.write(identity)
    except OSError as error:
        raise FileProblem("write", directory, error) from error
    return root


def _identity(name: str) -> str:
    """The ID of an image, which another image of the same name does not have."""
    try:
        found = subprocess.run(["podman", "image", "exists", name], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except FileNotFoundError as error:
        raise MissingProgram("podman", "podman") from error
    if found.returncode == _NO_IMAGE:
        raise BuildFailed("podman has no such image for this user; pull it, or build it first")
    return run(["podman", "image", "inspect", "--format", "{{.Id}}", name], f"find the image {name}", "podman").strip()


def remove_tree(path: str) -> None:
    """Remove a directory, also one with directories in it that may not be written to."""
    for place, directories, _files in os.walk(path):
        for name in directories:
            inner = os.path.join(place, name)
            if not os.path.islink(inner):
                os.chmod(inner, stat.S_IRWXU)
    if os.path.isdir(path):
        shutil.rmtree(path)


def _export(name: str, identity: str, root: str) -> None:
    container = run(["podman", "create", "--network=none", identity, "/bin/sh"], f"export the image {name}",
                    "podman").split()[-1]
    try:
        _unpack(name, container, root)
    finally:
        run(["podman", "rm", "--force", container], f"remove the container made of the image {name}", "podman")


def _unpack(name: str, container: str, root: str) -> None:
    archive = root + ".tar"
    try:
        run(["podman", "export", "--output", archive, container], f"export the image {name}", "podman")
        # The owners of files do not matter to a build, and only root could give them.
        run(["tar", "-x", "-f", archive, "-C", root, "--no-same-owner", "--delay-directory-restore", "--anchored",
             *(f"--exclude={pattern}" for pattern in _LEFT_OUT)], f"unpack the image {name}", "tar")
    finally:
        if os.path.lexists(archive):
            os.unlink(archive)
